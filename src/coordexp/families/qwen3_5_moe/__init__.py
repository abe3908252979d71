"""Qwen3.5 with a mixture of experts, 35B-A3B and larger, all that is its own.

- `family`: names, sizes and conventions, without torch.
- `inputs`: what its model is handed.
"""
