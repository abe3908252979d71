"""Qwen3-VL, 2B to 32B, all that is its own.

- `family`: names, sizes and conventions; `positions`: its rotary positions; both without torch.
- `inputs`: what its model is handed, through transformers.
"""
