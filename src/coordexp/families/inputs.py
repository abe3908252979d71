"""What a family's model is handed: the half of a family that needs torch.

Only `rendering`, `model` and what lies above them import this; packages that read data and figures
must not wait for torch.

Shapes: `P` image patches, `C` values of a patch, `I` images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from coordexp.families.family import Family
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.qwen2_5_vl.inputs import load_qwen2_5_vl_inputs
from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.qwen3_5.inputs import load_qwen3_5_inputs
from coordexp.families.qwen3_5_moe.family import QWEN3_5_MOE
from coordexp.families.qwen3_5_moe.inputs import load_qwen3_5_moe_inputs
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.qwen3_vl.inputs import load_qwen3_vl_inputs
from coordexp.families.qwen3_vl_moe.family import QWEN3_VL_MOE
from coordexp.families.qwen3_vl_moe.inputs import load_qwen3_vl_moe_inputs


@runtime_checkable
class ModelInputs(Protocol):
    """How one checkpoint wants its pictures, positions and packs."""

    @property
    def family(self) -> Family:
        """Of the checkpoint."""

    @property
    def grid(self) -> PictureGrid:
        """The checkpoint's own cell, and the limits in use."""

    @property
    def patch_px(self) -> int:
        """Side of a patch; one cell has one or several of them."""

    def count_tokens(self, width: int, height: int) -> int:
        """Return how many tokens a picture of that size becomes.

        Raises:
            RecordError: If it is too thin.
        """

    def tokens_of(self, grid_thw: Sequence[int]) -> int:
        """Return how many tokens a picture with that many frames and patches becomes."""

    def encode(
        self, pictures: Sequence[Image.Image]
    ) -> tuple[Float[Tensor, "P C"], Int[Tensor, "I 3"]]:
        """Return the patches of all pictures, and frames and patches of each; none is allowed."""

    def positions(
        self, is_image: Sequence[bool], grids_thw: Sequence[tuple[int, int, int]]
    ) -> tuple[list[int], list[int], list[int]]:
        """Return the temporal, height and width position of every token of one example.

        Raises:
            ValueError: If the placeholders do not add up to the grids.
        """

    def pack(self, positions: Sequence[Int[Tensor, "3 _"]]) -> dict[str, Tensor]:
        """Return what keeps the examples of a pack apart, as arguments of the model.

        Args:
            positions: Of each example, as it has them alone.
        """


class LoadInputs(Protocol):
    """Opens what a family's checkpoint has for it."""

    def __call__(
        self, path: Path, *, min_pixels: int | None, max_pixels: int | None
    ) -> ModelInputs:
        """Return the inputs of a checkpoint.

        Args:
            path: The checkpoint.
            min_pixels: Replaces the checkpoint's smallest picture area.
            max_pixels: Replaces its largest.

        Raises:
            CheckpointError: If its files cannot be read, or are another family's.
        """


INPUTS: dict[str, LoadInputs] = {
    QWEN3_VL.name: load_qwen3_vl_inputs,
    QWEN2_5_VL.name: load_qwen2_5_vl_inputs,
    QWEN3_5.name: load_qwen3_5_inputs,
    QWEN3_VL_MOE.name: load_qwen3_vl_moe_inputs,
    QWEN3_5_MOE.name: load_qwen3_5_moe_inputs,
}
"""By the family's name."""
