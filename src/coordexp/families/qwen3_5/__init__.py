"""Qwen3.5, 0.8B to 27B, all that is its own.

- `family`: names, sizes and conventions, without torch.
- `inputs`: what its model is handed.
"""
