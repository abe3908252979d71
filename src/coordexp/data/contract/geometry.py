"""Boxes, polygons and polylines: what an object's geometry is, and the one place that checks it.

Values are x, y, x, y, ... in one flat list. Numbers are pixels in `[0, width]` and `[0, height]`;
strings are coord tokens and become bins. One geometry never mixes the two.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard, get_args

from coordexp.coord_tokens.codec import (
    SPEC_ALPHABET,
    CoordAlphabet,
    bin_to_pixel,
    pixels_to_bins,
    tokens_to_ints,
)
from coordexp.errors import RecordError

GeometryKind = Literal["bbox_2d", "poly", "line"]
Unit = Literal["px", "bin"]
Box = tuple[float, float, float, float]

GEOMETRY_KINDS: tuple[GeometryKind, ...] = get_args(GeometryKind)
_NUMBERS = frozenset((int, float))  # and no bool, which is a kind of int
LEAST_POINTS: Mapping[GeometryKind, int] = {"bbox_2d": 2, "poly": 3, "line": 2}


@dataclass(frozen=True, slots=True)
class Geometry:
    """A box, polygon or polyline.

    Args:
        kind: Which of the three.
        values: x, y, x, y, ...; a box is `(x1, y1, x2, y2)`.
        unit: Pixels of the record's image, or bins.
    """

    kind: GeometryKind
    values: tuple[float, ...]
    unit: Unit

    def to_bins(
        self, width: int, height: int, alphabet: CoordAlphabet = SPEC_ALPHABET
    ) -> tuple[int, ...]:
        """Return the values as bins.

        Raises:
            RecordError: If a pixel lies outside the image.
        """
        if self.unit == "bin":
            return tuple(int(value) for value in self.values)
        return pixels_to_bins(self.values, width, height, alphabet)

    def to_pixels(
        self, width: int, height: int, alphabet: CoordAlphabet = SPEC_ALPHABET
    ) -> tuple[float, ...]:
        """Return the values as pixels of a `width` x `height` image."""
        if self.unit == "px":
            return self.values
        sizes = (width, height)
        return tuple(
            bin_to_pixel(value, sizes[axis % 2], alphabet) for axis, value in enumerate(self.values)
        )


def bounding_box(values: Sequence[float]) -> Box:
    """Return `(x1, y1, x2, y2)` around points given as x, y, x, y, ...

    Example:
        >>> bounding_box([3, 9, 1, 4, 2, 5])
        (1, 4, 3, 9)
    """
    xs, ys = values[0::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def parse_geometry(
    kind: GeometryKind,
    values: object,
    width: int,
    height: int,
    alphabet: CoordAlphabet = SPEC_ALPHABET,
) -> Geometry:
    """Return a checked geometry.

    Two box corners may share a bin, for a thin box is thinner than a bin; in pixels a box has area.

    Raises:
        RecordError: If the values are not a flat list of finite pixels inside the image, or of
            coord tokens; if their number is odd or too small; if a box has its corners in the wrong
            order, or no area in pixels.
    """
    # Nearly every geometry is plain pixels, quickly seen to be right; the others are looked at
    # closely, which also finds the words for what is wrong.
    if kind == "bbox_2d" and type(values) is list and len(values) == 4:  # noqa: PLR2004
        x1, y1, x2, y2 = values
        plain = _NUMBERS.issuperset(map(type, values))
        if plain and 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:
            return Geometry(kind, (x1, y1, x2, y2), "px")
    elif _are_pixels_inside(values, width, height) and _is_whole(kind, values):
        return Geometry(kind, tuple(values), "px")
    return _closely_parsed(kind, values, width, height, alphabet)


def shown(value: object) -> str:
    """Return a value as an error message shows it: short, however large or deep the value is."""
    text = reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - fits a line


def _are_pixels_inside(values: object, width: int, height: int) -> TypeGuard[list[float]]:
    """Return whether the values surely are pixels of the image."""
    if type(values) is not list or not values or not _NUMBERS.issuperset(map(type, values)):
        return False
    xs, ys = values[0::2], values[1::2]
    # Comparisons with NaN are false, but min and max may step over it; a sum does not.
    return bool(
        ys
        and min(xs) >= 0
        and max(xs) <= width
        and min(ys) >= 0
        and max(ys) <= height
        and sum(values) < math.inf
    )


def _is_whole(kind: GeometryKind, values: list[float]) -> bool:
    """Return whether there are enough values for a polygon or line, in pairs."""
    return kind != "bbox_2d" and not len(values) % 2 and len(values) >= 2 * LEAST_POINTS[kind]


def _closely_parsed(
    kind: GeometryKind, values: object, width: int, height: int, alphabet: CoordAlphabet
) -> Geometry:
    """Return a geometry that is not plain pixels, or say what is wrong with it."""
    if not isinstance(values, list):
        message = f"{kind}: expected a flat list of numbers or coord tokens, got {shown(values)}"
        raise RecordError(message)
    for value in values:  # before they are counted: nested points have another number
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise RecordError(f"{kind}: expected numbers in a flat list, got {shown(value)}")
    texts = sum(isinstance(value, str) for value in values)
    if texts not in (0, len(values)):
        raise RecordError(f"{kind}: pixels and coord tokens are mixed; use one or the other")
    _check_count(kind, len(values))
    geometry = (
        _tokens_to_geometry(kind, values, alphabet)
        if texts
        else _pixels_to_geometry(kind, values, width, height)
    )
    if kind == "bbox_2d":
        _check_corners(geometry)
    return geometry


def _check_count(kind: GeometryKind, count: int) -> None:
    least = 2 * LEAST_POINTS[kind]
    if kind == "bbox_2d" and count != least:
        raise RecordError(f"bbox_2d: expected 4 values x1, y1, x2, y2, got {count}")
    if count % 2:
        raise RecordError(f"{kind}: expected x, y pairs, got an odd number of values ({count})")
    if count < least:
        raise RecordError(f"{kind}: expected at least {least // 2} points, got {count // 2}")


def _tokens_to_geometry(kind: GeometryKind, values: list[str], alphabet: CoordAlphabet) -> Geometry:
    try:
        bins = tokens_to_ints(values, alphabet)
    except RecordError as error:
        raise RecordError(f"{kind}: {error.message}") from None
    return Geometry(kind=kind, values=bins, unit="bin")


def _pixels_to_geometry(
    kind: GeometryKind, values: list[float], width: int, height: int
) -> Geometry:
    for position, value in enumerate(values):
        if not abs(value) < math.inf:  # not isfinite(): that fails on integers of 400 digits
            raise RecordError(f"{kind}: expected finite numbers, got {value}")
        axis, size = ("y", height) if position % 2 else ("x", width)
        if not 0 <= value <= size:
            raise RecordError(
                f"{kind}: {axis} = {shown(value)} lies outside the image, 0..{size} pixels"
            )
    return Geometry(kind=kind, values=tuple(values), unit="px")


def _check_corners(box: Geometry) -> None:
    x1, y1, x2, y2 = box.values
    if x2 < x1 or y2 < y1:
        raise RecordError(
            f"bbox_2d: expected x1 <= x2 and y1 <= y2, got {shown(list(box.values))}; "
            "a box is x1, y1, x2, y2, not x, y, width, height"
        )
    if box.unit == "px" and (x2 == x1 or y2 == y1):
        raise RecordError(f"bbox_2d: the box has no area: {shown(list(box.values))}")
