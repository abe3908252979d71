"""What the families of Qwen-VL have in common; no family itself.

- `inputs`: pictures as patches, packs, and opening the processor they share.
- `positions`: their rotary positions, without torch.
"""
