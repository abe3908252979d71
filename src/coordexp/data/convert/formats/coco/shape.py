"""One annotation of a COCO file as a shape, with whatever is wrong with it.

The box of an annotation is its `bbox`; its `segmentation` is only looked at where outlines are
wanted or there is no usable box. One that is broken does not take the other along: what is wrong
with it is kept in the shape, for the case that it would have been needed.
"""

import math
from collections.abc import Mapping

from coordexp.data.contract.geometry import Box
from coordexp.data.contract.marks import Marks
from coordexp.data.convert.reading.shapes import Shape, UnusableError, finite_numbers, size_to_box

Row = Mapping[str, object]
Outlines = tuple[tuple[float, ...], ...]

_FLAGS = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True}
_NUMBERS = (int, float)
_LEAST_POINTS = 3


def forget_outlines(row: dict[str, object]) -> None:
    """Take the outlines out of an annotation whose box can be used.

    They are most of what a large file holds.
    """
    if "segmentation" in row and _boxed(row)[0] is not None:
        del row["segmentation"]


def annotation_to_shape(row: Row, desc: str, place: str) -> Shape:
    """Return the shape of an annotation.

    Args:
        row: The annotation.
        desc: Name of its category.
        place: Where it stands.

    Raises:
        UnusableError: If it has neither a box nor an outline that could be used.
    """
    box, box_flaw = _boxed(row)
    outlines, mask, outline_flaw = _outlined(row.get("segmentation"))
    if box is None and not outlines and mask is None:
        raise UnusableError(
            box_flaw or outline_flaw or "an annotation without box and segmentation"
        )
    return Shape(
        desc=desc,
        place=place,
        box=box,
        outlines=outlines,
        mask=mask,
        box_flaw=box_flaw,
        outline_flaw=outline_flaw,
        marks=_marks(row),
    )


def area_flaw(row: Row, shape: Shape) -> str | None:
    """Return what is odd about the stated area, None where nothing is."""
    stated = shape.marks.area
    if stated is None:
        left_out = "an area that is no number of square pixels: left out"
        return None if row.get("area") is None else left_out
    if shape.box is None:
        return None
    x1, y1, x2, y2 = shape.box
    most = (x2 - x1 + 2) * (y2 - y1 + 2)  # the box, a pixel added all around
    disagrees = "an area that disagrees with its shape: kept, for COCO's figures by size use it"
    return disagrees if stated > most else None


def _boxed(row: Row) -> tuple[Box | None, str | None]:
    """Return the box, where it can be used, or else what is wrong with it; nothing for none."""
    values = row.get("bbox")
    if values is None or values == []:
        return None, None
    try:
        box = size_to_box(values)
    except UnusableError as error:
        return None, error.reason
    x1, y1, x2, y2 = box
    return (None, "a box without area") if x1 == x2 or y1 == y2 else (box, None)


def _outlined(segmentation: object) -> tuple[Outlines, Row | None, str | None]:
    """Return outlines or a mask, or what is wrong with them; nothing where there is none."""
    if segmentation is None or segmentation in ([], {}):
        return (), None, None
    if isinstance(segmentation, dict):
        return (), segmentation, None
    try:
        return _rings(segmentation), None, None
    except UnusableError as error:
        return (), None, error.reason


def _rings(segmentation: object) -> Outlines:
    if not isinstance(segmentation, list):
        raise UnusableError("a segmentation that is neither outlines nor a mask")
    if all(type(value) in _NUMBERS for value in segmentation):
        raise UnusableError("an outline that is not in a list of outlines")
    rings = tuple(_ring(ring) for ring in segmentation)
    if len(rings) >= _LEAST_POINTS and all(len(ring) == 2 for ring in rings):  # noqa: PLR2004 - x, y
        raise UnusableError("an outline of separate points, where COCO has one flat list")
    return rings


def _ring(values: object) -> tuple[float, ...]:
    numbers = finite_numbers(values)  # too few of them have no area, and that is counted later
    if len(numbers) % 2:
        raise UnusableError("an outline with half a point")
    return numbers


def _marks(row: Row) -> Marks:
    """Return the marks; `iscrowd` is only said where it matters, for it is 0 unless it is 1."""
    crowd, ignore = _flag(row, "iscrowd"), _flag(row, "ignore")
    return Marks(crowd if crowd or ignore else None, ignore, _area(row.get("area")))


def _flag(row: Row, key: str) -> bool:
    value = row.get(key)
    if value is None:
        return False
    spelled = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(spelled, int | float | str) or spelled not in _FLAGS:
        raise UnusableError(f"an {key} that is neither 0 nor 1")
    return _FLAGS[spelled]  # true is 1, and so is 1.0


def _area(value: object) -> float | None:
    is_number = type(value) in _NUMBERS and 0 <= value < math.inf  # type: ignore[operator]
    return value if is_number else None  # type: ignore[return-value]
