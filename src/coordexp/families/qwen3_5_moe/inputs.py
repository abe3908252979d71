"""What the model of Qwen3.5's mixtures is handed: all as `coordexp.families.qwen_vl` has it."""

from pathlib import Path

from coordexp.families.qwen3_5_moe.family import QWEN3_5_MOE
from coordexp.families.qwen_vl.inputs import QwenVLInputs, load_qwen_vl_inputs


def load_qwen3_5_moe_inputs(
    path: Path, *, min_pixels: int | None, max_pixels: int | None
) -> QwenVLInputs:
    """Return the inputs of a checkpoint; see `coordexp.families.inputs.LoadInputs`."""
    return load_qwen_vl_inputs(QWEN3_5_MOE, path, min_pixels=min_pixels, max_pixels=max_pixels)
