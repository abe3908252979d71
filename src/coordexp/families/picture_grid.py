"""The sizes at which a family of models looks at a picture.

Both sides are multiples of a cell, the area lies between two limits, and the shape is kept as well
as that allows. The arithmetic is that of `smart_resize` in transformers and in the package that the
first family's authors publish for it, checked against both over thousands of sizes. Where the
latter would round a very thin picture down to nothing, one cell is left, as in transformers.
"""

import math
from dataclasses import dataclass, replace

from coordexp.errors import InputError, RecordError


@dataclass(frozen=True, slots=True)
class PictureGrid:
    """The cell and the limits of a picture.

    Args:
        cell_px: Side of the square that becomes one token, in pixels.
        least: Smallest area in pixels; smaller pictures are enlarged.
        most: Largest area in pixels; larger pictures are reduced.
        largest_ratio: Of the longer side to the shorter; thinner pictures are refused.

    Raises:
        InputError: If no multiple of the cell can lie between the limits.
    """

    cell_px: int
    least: int
    most: int
    largest_ratio: int

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise InputError(
                f"min_pixels {self.least} and max_pixels {self.most}: expected at least 1, and "
                "the first no more than the second"
            )
        if self.most < self.cell_px**2:
            raise InputError(f"max_pixels {self.most}: one cell of the grid has {self.cell_px**2}")

    def limited(self, *, least: int | None = None, most: int | None = None) -> "PictureGrid":
        """Return the grid with other limits; None keeps the own one, as far as the other allows.

        Raises:
            InputError: As the class does.

        Example:
            >>> PictureGrid(32, least=4096, most=8192, largest_ratio=200).limited(least=10_000).most
            10000
        """
        most = max(self.most, least or 0) if most is None else most
        return replace(self, least=min(self.least, most) if least is None else least, most=most)

    def with_cell(self, cell_px: int) -> "PictureGrid":
        """Return the grid with a cell of another side, and limits of as many cells."""
        least, most = (area // self.cell_px**2 * cell_px**2 for area in (self.least, self.most))
        return replace(self, cell_px=cell_px, least=least, most=most)

    def holds(self, width: int, height: int) -> bool:
        """Return whether both sides are multiples of the cell."""
        return width % self.cell_px == height % self.cell_px == 0


def smart_resize(width: int, height: int, grid: PictureGrid) -> tuple[int, int]:
    """Return the width and height at which a picture is looked at.

    Raises:
        RecordError: If one side is more than `grid.largest_ratio` times the other.

    Example:
        >>> smart_resize(640, 480, PictureGrid(32, least=4096, most=200_000, largest_ratio=200))
        (512, 384)
    """
    check_shape(width, height, grid.largest_ratio)
    cell = grid.cell_px
    wide, high = _rounded(width, cell), _rounded(height, cell)
    if wide * high > grid.most:
        factor = math.sqrt(width * height / grid.most)
        return _floored(width / factor, cell), _floored(height / factor, cell)
    if wide * high < grid.least:
        factor = math.sqrt(grid.least / (width * height))
        return _ceiled(width * factor, cell), _ceiled(height * factor, cell)
    return wide, high


def check_shape(width: int, height: int, largest_ratio: int) -> None:
    """Check that a picture is not too thin to be looked at.

    Raises:
        RecordError: If one side is more than `largest_ratio` times the other.
    """
    if max(width, height) > largest_ratio * min(width, height):
        raise RecordError(
            f"images[0]: {width}x{height} is too thin; no side may have more than {largest_ratio} "
            "times the pixels of the other: crop the picture, or cut it into pieces"
        )


def _rounded(side: float, cell: int) -> int:
    return max(cell, round(side / cell) * cell)


def _floored(side: float, cell: int) -> int:
    return max(cell, math.floor(side / cell) * cell)


def _ceiled(side: float, cell: int) -> int:
    return math.ceil(side / cell) * cell
