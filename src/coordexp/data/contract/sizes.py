"""Sizes of pictures, in whole pixels."""

from collections.abc import Iterator, Mapping
from typing import cast

from coordexp.data.contract.faults import Fault, Rule, raise_first
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.rules import RESIZED

LARGEST_SIZE_PX = 1_000_000  # of a side; anything above is a slip, not a picture


def is_size(value: object) -> bool:
    """Return whether a value is a side of a picture."""
    return type(value) is int and 1 <= value <= LARGEST_SIZE_PX  # `true` is an int as well


def size_faults(value: object, key: str, rule: Rule) -> Iterator[Fault]:
    """Yield a fault where a side of a picture is no whole number of pixels."""
    if not is_size(value):
        expected = f"a whole number of pixels 1..{LARGEST_SIZE_PX}"
        yield Fault(rule, f"{key}: expected {expected}, got {shown(value)}")


def resized_faults(value: object) -> Iterator[Fault]:
    """Yield what is wrong with the size of a picture's file; None says nothing, and is fine."""
    if value is None:
        return
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - width and height
        message = f"resized: expected width and height of the file, got {shown(value)}"
        yield Fault(RESIZED, message)
        return
    for side in value:
        yield from size_faults(side, "resized", RESIZED)


def parse_resized(data: Mapping[str, object]) -> tuple[int, int] | None:
    """Return the size of a picture's file, where it is not the size that pixels refer to.

    Raises:
        RecordError: If the key is there and holds something else.
    """
    value = data.get("resized")
    if value is None:
        return None
    raise_first(resized_faults(value))
    width, height = cast("list[int]", value)
    return width, height
