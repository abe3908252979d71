"""Sizes of pictures, in whole pixels."""

from collections.abc import Mapping

from coordexp.data.contract.geometry import shown
from coordexp.errors import RecordError

LARGEST_SIZE_PX = 1_000_000  # of a side; anything above is a slip, not a picture


def parse_resized(data: Mapping[str, object]) -> tuple[int, int] | None:
    """Return the size of a picture's file, where it is not the size that pixels refer to.

    Raises:
        RecordError: If the key is there and holds something else.
    """
    value = data.get("resized")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - width and height
        raise RecordError(f"resized: expected width and height of the file, got {shown(value)}")
    width, height = value
    return checked_size(width, "resized"), checked_size(height, "resized")


def checked_size(value: object, key: str) -> int:
    """Return a side of a picture.

    Raises:
        RecordError: If it is no whole number of pixels.
    """
    if type(value) is not int or not 1 <= value <= LARGEST_SIZE_PX:  # `true` is an int as well
        raise RecordError(
            f"{key}: expected a whole number of pixels 1..{LARGEST_SIZE_PX}, got {shown(value)}"
        )
    return value
