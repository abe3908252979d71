"""The size at which Qwen-VL looks at a picture.

Both sides are multiples of the grid, the area lies between two limits, and the shape is kept as
well as that allows. The arithmetic is that of `smart_resize` in qwen-vl-utils and transformers,
checked against both over thousands of sizes. Where qwen-vl-utils would round a very thin picture
down to nothing, one cell of the grid is left, as in transformers.
"""

import math
from dataclasses import dataclass

from coordexp.errors import InputError, RecordError

GRID_PX = 32  # patches of 16 pixels, merged two by two
LEAST_PIXELS, MOST_PIXELS = 4 * GRID_PX**2, 16384 * GRID_PX**2  # qwen-vl-utils' own limits
LARGEST_RATIO = 200


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """The smallest and largest area of a picture.

    Args:
        least: Smaller pictures are enlarged.
        most: Larger pictures are reduced.

    Raises:
        InputError: If no multiple of the grid can lie between them.
    """

    least: int = LEAST_PIXELS
    most: int = MOST_PIXELS

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise InputError(
                f"--min-pixels {self.least} and --max-pixels {self.most}: expected at least 1, and "
                "the first no more than the second"
            )
        if self.most < GRID_PX**2:
            raise InputError(f"--max-pixels {self.most}: one cell of the grid has {GRID_PX**2}")


def smart_resize(width: int, height: int, limits: PixelLimits) -> tuple[int, int]:
    """Return the width and height at which a picture is looked at.

    Raises:
        RecordError: If one side is more than 200 times the other.

    Example:
        >>> smart_resize(640, 480, PixelLimits(most=200_000))
        (512, 384)
    """
    check_shape(width, height)
    wide, high = _rounded(width), _rounded(height)
    if wide * high > limits.most:
        factor = math.sqrt(width * height / limits.most)
        return _floored(width / factor), _floored(height / factor)
    if wide * high < limits.least:
        factor = math.sqrt(limits.least / (width * height))
        return _ceiled(width * factor), _ceiled(height * factor)
    return wide, high


def check_shape(width: int, height: int) -> None:
    """Check that a picture is not too thin to be looked at.

    Raises:
        RecordError: If one side is more than 200 times the other.
    """
    if max(width, height) > LARGEST_RATIO * min(width, height):
        raise RecordError(
            f"images[0]: {width}x{height} is too thin; no side may have more than {LARGEST_RATIO} "
            "times the pixels of the other: crop the picture, or cut it into pieces"
        )


def _rounded(side: float) -> int:
    return max(GRID_PX, round(side / GRID_PX) * GRID_PX)


def _floored(side: float) -> int:
    return max(GRID_PX, math.floor(side / GRID_PX) * GRID_PX)


def _ceiled(side: float) -> int:
    return math.ceil(side / GRID_PX) * GRID_PX
