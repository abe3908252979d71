"""An object's geometry, of whatever kind, and the one place that checks it.

Values are x, y, x, y, ... in one flat list. Numbers are pixels in `[0, width]` and `[0, height]`;
strings are coord tokens and become bins. One geometry never mixes the two.
"""

import math
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, cast

from typing_extensions import TypeIs

from coordexp.coord_tokens.codec import (
    CoordAlphabet,
    bin_to_pixel,
    pixels_to_bins,
    tokens_to_ints,
)
from coordexp.data.contract import rules
from coordexp.data.contract.faults import Fault, raise_first
from coordexp.data.contract.geometry_kinds import KINDS, GeometryKind, KindRules
from coordexp.errors import RecordError

_MOST_SHOWN = 4  # values outside of an image, in one line of a report

Unit = Literal["px", "bin"]
Box = tuple[float, float, float, float]

_NUMBERS = frozenset((int, float))  # and no bool, which is a kind of int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where something is.

    Args:
        kind: What its values mean.
        values: x, y, x, y, ...; a box is `(x1, y1, x2, y2)`.
        unit: Pixels of the record's image, or bins.
    """

    kind: GeometryKind
    values: tuple[float, ...]
    unit: Unit

    @property
    def rules(self) -> KindRules:
        """What its kind has of its own."""
        return KINDS[self.kind]

    def to_bins(self, width: int, height: int, alphabet: CoordAlphabet) -> tuple[int, ...]:
        """Return the values as bins.

        Raises:
            RecordError: If a pixel lies outside the image.
        """
        if self.unit == "bin":
            return tuple(int(value) for value in self.values)
        return pixels_to_bins(self.values, width, height, alphabet)

    def to_pixels(self, width: int, height: int, alphabet: CoordAlphabet) -> tuple[float, ...]:
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
    alphabet: CoordAlphabet,
) -> Geometry:
    """Return a checked geometry.

    Two box corners may share a bin, for a thin box is thinner than a bin; in pixels a box has area.

    Raises:
        RecordError: If the values are not a flat list of finite pixels inside the image, or of
            coord tokens; if their number is odd or too small; if a box has its corners in the wrong
            order, or no area in pixels.
    """
    geometry = plain_pixels(kind, values, width, height)
    if geometry is None:
        raise_first(geometry_faults(kind, values, width, height, alphabet))
        geometry = build_geometry(kind, values, alphabet)
    return geometry


def plain_pixels(
    kind: GeometryKind, values: object, width: float, height: float
) -> Geometry | None:
    """Return a geometry in pixels that is quickly seen to be right, as nearly all are.

    None is returned for others, which may be right as well: `geometry_faults` tells.
    """
    if kind == "bbox_2d":
        return plain_box(values, width, height)
    if type(values) is not list or not _NUMBERS.issuperset(map(type, values)):
        return None
    if not KINDS[kind].is_whole(len(values)):
        return None
    return Geometry(kind, tuple(values), "px") if _are_inside(values, width, height) else None


def plain_box(values: object, width: float, height: float) -> Geometry | None:
    """Return a box in pixels that is quickly seen to be right, else None."""
    if type(values) is list and len(values) == 4:  # noqa: PLR2004 - x1, y1, x2, y2
        x1, y1, x2, y2 = values
        # One by one, in half the time of a set of their types.
        numbers = (
            type(x1) in _NUMBERS
            and type(y1) in _NUMBERS
            and type(x2) in _NUMBERS
            and type(y2) in _NUMBERS
        )
        if numbers and 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height:
            return Geometry("bbox_2d", (x1, y1, x2, y2), "px")
    return None


def is_flat(kind: GeometryKind, values: Sequence[float]) -> bool:
    """Return whether values are two corners with no area between them."""
    if KINDS[kind].form != "corners":
        return False
    x1, y1, x2, y2 = values
    return x1 == x2 or y1 == y2


def _are_inside(values: Sequence[float], width: float, height: float) -> bool:
    xs, ys = values[0::2], values[1::2]
    # Comparisons with NaN are false, but min and max may step over it; a sum does not.
    return (
        min(xs) >= 0 <= min(ys)
        and max(xs) <= width
        and max(ys) <= height
        and sum(values) < math.inf
    )


def build_geometry(kind: GeometryKind, values: object, alphabet: CoordAlphabet) -> Geometry:
    """Return the geometry of values in which `geometry_faults` has found nothing."""
    if _are_tokens(good := cast("list[float] | list[str]", values)):
        return Geometry(kind, tokens_to_ints(good, alphabet), "bin")
    return Geometry(kind, tuple(good), "px")


def _are_tokens(values: list[float] | list[str]) -> TypeIs[list[str]]:
    return isinstance(values[0], str)


def shown(value: object) -> str:
    """Return a value as an error message shows it: short, however large or deep the value is."""
    text = reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - fits a line


def geometry_faults(
    kind: GeometryKind,
    values: object,
    width: float,
    height: float,
    alphabet: CoordAlphabet,
) -> Iterator[Fault]:
    """Yield what is wrong with a geometry; of each rule one fault, in the order of the values.

    Args:
        kind: Which geometry it should be.
        values: As decoded.
        width: Of the image; infinite where it is unknown, and every x from 0 on is inside.
        height: The same of y.
        alphabet: Of the coord tokens.
    """
    shape = next(_shape_faults(kind, values), None)
    if shape is not None:  # single values cannot be looked at
        yield shape
        return
    good = cast("list[float] | list[str]", values)
    if _are_tokens(good):
        yield from _token_faults(kind, good, alphabet)
        return
    found = sorted(_pixel_faults(kind, good, (width, height)), key=itemgetter(0))
    yield from (fault for _, fault in found)
    if KINDS[kind].form == "corners":
        yield from _corner_faults(kind, good, has_area=True)


def _shape_faults(kind: GeometryKind, values: object) -> Iterator[Fault]:
    if not isinstance(values, list):
        message = f"{kind}: expected a flat list of numbers or coord tokens, got {shown(values)}"
        yield Fault(rules.FLAT_LIST, message)
        return
    for value in values:  # before they are counted: nested points have another number
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            message = f"{kind}: expected numbers in a flat list, got {shown(value)}"
            yield Fault(rules.FLAT_LIST, message)
    texts = sum(isinstance(value, str) for value in values)
    if texts not in (0, len(values)):
        message = f"{kind}: pixels and coord tokens are mixed; use one or the other"
        yield Fault(rules.MIXED_UNITS, message)
    count, own = len(values), KINDS[kind]
    if own.is_whole(count):
        return
    if own.most_points == own.least_points:
        message = f"{kind}: expected {own.count} {own.spelled}, got {count}"
    elif count % 2:
        message = f"{kind}: expected x, y pairs, got an odd number of values ({count})"
    else:
        message = f"{kind}: expected at least {own.least_points} points, got {count // 2}"
    yield Fault(rules.POINTS, message)


def _token_faults(
    kind: GeometryKind, tokens: list[str], alphabet: CoordAlphabet
) -> Iterator[Fault]:
    try:
        bins = tokens_to_ints(tokens, alphabet)
    except RecordError as error:
        yield Fault(rules.COORD_TOKEN, f"{kind}: {error.message}")
        return
    if KINDS[kind].form == "corners":
        yield from _corner_faults(kind, bins, has_area=False)


def _pixel_faults(
    kind: GeometryKind, values: list[float], size: tuple[float, float]
) -> Iterator[tuple[int, Fault]]:
    """Yield each rule that single pixels break, behind the place of the first that does."""
    # Not isfinite(): that fails on integers of 400 digits.
    odd = [place for place, value in enumerate(values) if not abs(value) < math.inf]
    if odd:
        message = f"{kind}: expected finite numbers, got {values[odd[0]]}"
        yield odd[0], Fault(rules.NOT_FINITE, message)
    outside = [
        place
        for place, value in enumerate(values)
        if abs(value) < math.inf and not 0 <= value <= size[place % 2]
    ]
    if outside:
        told = [f"{'xy'[place % 2]} = {shown(values[place])}" for place in outside]
        first = f"{kind}: {told[0]} lies outside the image, 0..{size[outside[0] % 2]} pixels"
        more = ", ..." if len(told) > _MOST_SHOWN else ""
        image = "the image" if math.inf in size else f"the image of {size[0]} x {size[1]} pixels"
        in_full = f"{kind}: {', '.join(told[:_MOST_SHOWN])}{more} outside {image}"
        yield outside[0], Fault(rules.OUTSIDE_IMAGE, first, in_full=in_full)


def _corner_faults(
    kind: GeometryKind, values: Sequence[float], *, has_area: bool
) -> Iterator[Fault]:
    x1, y1, x2, y2 = values
    if x2 < x1 or y2 < y1:
        message = (
            f"{kind}: expected x1 <= x2 and y1 <= y2, got {shown(list(values))}; "
            "a box is x1, y1, x2, y2, not x, y, width, height"
        )
        yield Fault(rules.CORNER_ORDER, message)
    elif has_area and (x2 == x1 or y2 == y1):
        yield Fault(rules.NO_AREA, f"{kind}: the box has no area: {shown(list(values))}")
