"""Which families there are, and which one a checkpoint belongs to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from coordexp.errors import CheckpointError
from coordexp.families.config_file import CONFIG, load_config, load_object
from coordexp.families.family import Family
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.qwen3_5_moe.family import QWEN3_5_MOE
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.qwen3_vl_moe.family import QWEN3_VL_MOE

FAMILIES: dict[str, Family] = {
    family.name: family for family in (QWEN3_VL, QWEN2_5_VL, QWEN3_5, QWEN3_VL_MOE, QWEN3_5_MOE)
}
"""By `model_type`."""

DEFAULT_FAMILY = QWEN3_VL.name
"""For commands that may do without a checkpoint; they have an option for another."""

_PROCESSOR = "preprocessor_config.json"


def common_largest_ratio() -> int:
    """Return by how much the longer side of a picture may be longer for every family.

    Data is checked where no model is at hand, and outlives the one that it was made for.
    """
    return min(each.grid.largest_ratio for each in FAMILIES.values())


def family_of(config: Mapping[str, object], *, source: Path | str = CONFIG) -> Family:
    """Return the family of a model from its configuration.

    Args:
        config: Content of `config.json`.
        source: Where it was found, for the message.

    Raises:
        CheckpointError: If its `model_type` is missing, or of no family that is known.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        given = "none" if kind is None else repr(kind)
        raise CheckpointError(
            f"{source}: expected the model_type of a family that is known "
            f"({', '.join(FAMILIES)}), got {given}"
        )
    return family


def load_family(checkpoint: Path | str) -> Family:
    """Return the family of a checkpoint directory.

    Raises:
        CheckpointError: As `family_of` does, or if `config.json` cannot be read.
    """
    return family_of(load_config(checkpoint), source=Path(checkpoint) / CONFIG)


def load_grid(checkpoint: Path | str) -> PictureGrid:
    """Return the picture grid of a checkpoint: its own cell, and its own limits where it has any.

    Raises:
        CheckpointError: If `config.json` or `preprocessor_config.json` cannot be read, or the
            latter names no cell.
    """
    family, path = load_family(checkpoint), Path(checkpoint) / _PROCESSOR
    settings = load_object(path)
    patch, merge = settings.get("patch_size"), settings.get("merge_size")
    if not (isinstance(patch, int) and isinstance(merge, int) and patch > 0 and merge > 0):
        raise CheckpointError(
            f"{path}: expected patch_size and merge_size as whole numbers, got {patch!r} and "
            f"{merge!r}"
        )
    grid = family.grid.with_cell(patch * merge)
    size = settings.get("size")
    limits = size if isinstance(size, dict) else {}
    # Older files say it at the top, and the processor believes those first.
    least = settings.get("min_pixels") or limits.get("shortest_edge")
    most = settings.get("max_pixels") or limits.get("longest_edge")
    if isinstance(least, int) and isinstance(most, int) and 0 < least <= most:
        return replace(grid, least=least, most=most)
    return grid
