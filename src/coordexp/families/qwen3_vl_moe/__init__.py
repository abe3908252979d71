"""Qwen3-VL with a mixture of experts, 30B-A3B and 235B-A22B, all that is its own.

- `family`: names, sizes and conventions, without torch.
- `inputs`: what its model is handed.
"""
