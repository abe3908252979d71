"""What Qwen2.5-VL's model is handed: all as `coordexp.families.qwen_vl` has it.

Its vision tower cuts a picture into windows by itself, from the same grid.
"""

from pathlib import Path

from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.qwen_vl.inputs import QwenVLInputs, load_qwen_vl_inputs


def load_qwen2_5_vl_inputs(
    path: Path, *, min_pixels: int | None, max_pixels: int | None
) -> QwenVLInputs:
    """Return the inputs of a checkpoint; see `coordexp.families.inputs.LoadInputs`."""
    return load_qwen_vl_inputs(QWEN2_5_VL, path, min_pixels=min_pixels, max_pixels=max_pixels)
