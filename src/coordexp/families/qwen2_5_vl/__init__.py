"""Qwen2.5-VL, 3B to 72B, all that is its own.

- `family`: names, sizes and conventions, without torch.
- `inputs`: what its model is handed.
"""
