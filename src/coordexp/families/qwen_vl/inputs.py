"""What a Qwen-VL model is handed, through transformers and Pillow.

Shapes: `P` image patches, `C` values of a patch, `I` images, `T` tokens.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from transformers import Qwen2VLImageProcessorPil

# transformers 5.17 itself offers a stand-in that asks for torchvision, whatever the backend.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from coordexp.errors import CheckpointError, RecordError
from coordexp.families.config_file import load_config
from coordexp.families.family import Family
from coordexp.families.picture_grid import PictureGrid, check_shape
from coordexp.families.qwen_vl.positions import Positions, mrope_positions

# What NumPy, Pillow and the processor's own checks raise; nobody lists it for us.
_PROCESSOR_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class QwenVLInputs:
    """Pictures, positions and packs; `coordexp.families.inputs.ModelInputs` says what each is.

    Args:
        family: Of the checkpoint.
        processor: Its own, on Pillow, the one backend that needs no torchvision.
    """

    def __init__(self, family: Family, processor: Qwen2VLImageProcessorPil) -> None:
        self.family = family
        self.processor = processor

    @property
    def grid(self) -> PictureGrid:
        """The processor's own cell and limits."""
        size = self.processor.size
        return PictureGrid(
            cell_px=self.patch_px * int(self.processor.merge_size),
            least=int(size["shortest_edge"]),
            most=int(size["longest_edge"]),
            largest_ratio=self.family.grid.largest_ratio,
        )

    @property
    def patch_px(self) -> int:
        """Side of a patch, of which `merge_size` squared make one token."""
        return int(self.processor.patch_size)

    def count_tokens(self, width: int, height: int) -> int:
        """Return the tokens of a picture of that size."""
        check_shape(width, height, self.grid.largest_ratio)
        patches = self.processor.get_number_of_image_patches(height, width)
        return int(patches) // int(self.processor.merge_size) ** 2

    def tokens_of(self, grid_thw: Sequence[int]) -> int:
        """Return the tokens of a picture with that grid."""
        return math.prod(grid_thw) // int(self.processor.merge_size) ** 2

    def encode(
        self, pictures: Sequence[Image.Image]
    ) -> tuple[Float[Tensor, "P C"], Int[Tensor, "I 3"]]:
        """Return the patches of all pictures and the grid of each."""
        if not pictures:
            values = 3 * self.processor.temporal_patch_size * self.patch_px**2
            return torch.zeros((0, values)), torch.zeros((0, 3), dtype=torch.long)
        for picture in pictures:
            check_shape(*picture.size, self.grid.largest_ratio)
        try:
            patches = self.processor(images=list(pictures), return_tensors="pt")
        except _PROCESSOR_ERRORS as error:
            raise RecordError(f"images[0]: the image processor cannot take it: {error}") from None
        return patches["pixel_values"], patches["image_grid_thw"]

    def positions(
        self, is_image: Sequence[bool], grids_thw: Sequence[tuple[int, int, int]]
    ) -> Positions:
        """Return the temporal, height and width position of every token."""
        return mrope_positions(is_image, grids_thw, int(self.processor.merge_size))

    def pack(self, positions: Sequence[Int[Tensor, "3 _"]]) -> dict[str, Tensor]:
        """Return four-row positions: the text row first, which shows the borders, then mRoPE's."""
        text = torch.cat([torch.arange(rows.shape[1]) for rows in positions])
        four = torch.cat([text[None], torch.cat(list(positions), dim=1)])
        return {"position_ids": four[:, None]}


def load_qwen_vl_inputs(
    family: Family, path: Path, *, min_pixels: int | None, max_pixels: int | None
) -> QwenVLInputs:
    """Return the inputs of a family's checkpoint; see `coordexp.families.inputs.LoadInputs`."""
    try:
        processor = AutoImageProcessor.from_pretrained(path, backend="pil", local_files_only=True)
    except Exception as error:  # noqa: BLE001 - of a broken file the library says no more than that
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: the image processor cannot be loaded: {reason}") from None
    if not isinstance(processor, Qwen2VLImageProcessorPil):
        raise CheckpointError(
            f"{path}: expected a Qwen-VL image processor, got {type(processor).__name__}"
        )
    _check_patches(processor, path)
    if min_pixels is not None:
        processor.size["shortest_edge"] = min_pixels
    if max_pixels is not None:
        processor.size["longest_edge"] = max_pixels
    return QwenVLInputs(family, processor)


def _check_patches(processor: Qwen2VLImageProcessorPil, path: Path) -> None:
    """Compare the patches that pictures are cut into with those that the model takes."""
    vision = load_config(path).get("vision_config")
    if not isinstance(vision, dict):
        return
    pairs = {
        "patch_size": "patch_size",
        "temporal_patch_size": "temporal_patch_size",
        "merge_size": "spatial_merge_size",
    }
    for ours, theirs in pairs.items():
        cut, taken = getattr(processor, ours), vision.get(theirs)
        if taken is not None and cut != taken:
            raise CheckpointError(
                f"{path / 'preprocessor_config.json'}: {ours} {cut} does not fit the model, whose "
                f"config.json says {theirs} {taken}; take the file from the base as it was shipped"
            )
