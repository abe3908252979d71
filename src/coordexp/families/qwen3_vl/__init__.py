"""Qwen3-VL, 2B to 32B, all that is its own.

- `family`: names, sizes and conventions, without torch.
- `inputs`: what its model is handed.
"""
