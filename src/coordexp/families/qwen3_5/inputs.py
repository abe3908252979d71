"""What Qwen3.5's model is handed: all as `coordexp.families.qwen_vl` has it."""

from pathlib import Path

from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.qwen_vl.inputs import QwenVLInputs, load_qwen_vl_inputs


def load_qwen3_5_inputs(
    path: Path, *, min_pixels: int | None, max_pixels: int | None
) -> QwenVLInputs:
    """Return the inputs of a checkpoint; see `coordexp.families.inputs.LoadInputs`."""
    return load_qwen_vl_inputs(QWEN3_5, path, min_pixels=min_pixels, max_pixels=max_pixels)
