"""A quick look that knows good objects at sight.

Nearly every object of a file is good, and to check it in full takes several times as long as a
look at it. The look is sound and not complete: what it passes, `parse_record` passes (a property
that is tested); what it does not recognise is checked in full by `coordexp.data.audit.rules`.
"""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple, TypeGuard

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.geometry import GEOMETRY_KINDS, LEAST_POINTS, GeometryKind
from coordexp.data.contract.marks import has_good_marks
from coordexp.data.contract.record import EXACT_SUFFIX, LARGEST_SIZE_PX
from coordexp.data.contract.special_tokens import SPECIAL_START

Values = tuple[float, ...]

_OPTIONAL_KEYS = frozenset({"prompt", "summary", "metadata", "resized", "federated", "messages"})
_NUMBERS = frozenset({int, float})
_EXACT_KEYS = {kind: kind + EXACT_SUFFIX for kind in GEOMETRY_KINDS}
_SAFE_PATH = re.compile(r"\w[\w +=@,.-]*(?:/[\w +=@,.-]+)*", re.ASCII)
# A token and its exact pixels agree to a bin. At this distance they do whatever way the pixels
# round; between it and 1.5 bins the way decides, which is left to the full check.
_SURELY_AGREES = 1.49
_NOT_THERE = object()
_BARE_KEYS = 2  # a desc and a geometry


class Frame(NamedTuple):
    """A record whose image and size are good; its objects are still to be looked at.

    Args:
        image: Path of the picture.
        width: That coordinates refer to.
        height: The same.
        rows: Its objects, unchecked.
        prompt: Its own, where it has one.
        resized: Size of the picture's file, where that is another.
    """

    image: str
    width: int
    height: int
    rows: list[object]
    prompt: str | None = None
    resized: tuple[int, int] | None = None


class SightedObject(NamedTuple):
    """A good object, as far as suspicion needs it.

    Args:
        desc: Its words.
        kind: Of its geometry.
        values: Pixels, or bins.
        is_bins: Which of the two.
        is_taught: Whether training writes it into an answer.
    """

    desc: str
    kind: GeometryKind
    values: Values
    is_bins: bool
    is_taught: bool = True


class Sight:
    """Knows good records and objects at sight.

    Args:
        alphabet: Of the coord tokens.
    """

    def __init__(self, alphabet: CoordAlphabet) -> None:
        self._last = alphabet.bins - 1
        tokens = alphabet.tokens()
        self._bins: dict[object, int] = {token: k for k, token in enumerate(tokens)}
        wildcard = [] if alphabet.wildcard is None else [alphabet.wildcard]
        spellings = [*tokens, *wildcard]
        # Every coord token starts with it; where they share nothing, every desc "holds" it.
        pairs = zip(min(spellings), max(spellings), strict=False)
        self._prefix = "".join(
            char for char, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)
        )

    def frame(self, row: dict[str, object]) -> Frame | None:
        """Return a record's frame, or None for one that needs the full check."""
        images, width, height = row.get("images"), row.get("width"), row.get("height")
        rows = row.get("objects")
        if (
            _OPTIONAL_KEYS.isdisjoint(row)
            and type(images) is list
            and len(images) == 1
            and _is_good_path(images[0])
            and _is_good_size(width)
            and _is_good_size(height)
            and type(rows) is list
        ):
            return Frame(images[0], width, height, rows)
        return None

    def sighted(self, row: object, width: int, height: int) -> SightedObject | None:
        """Return a good object, or None for one that needs the full check."""
        if type(row) is not dict:
            return None
        desc = row.get("desc")
        kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
        if len(kinds) != 1 or not self._is_good_desc(desc):
            return None
        kind = kinds[0]
        values, exact = row[kind], row.get(_EXACT_KEYS[kind], _NOT_THERE)
        seen: Values = ()
        is_bins = type(values) is list and len(values) > 0 and type(values[0]) is str
        if is_bins:
            seen = self._good_bins(kind, values, exact, width, height)
        elif exact is _NOT_THERE:
            seen = _good_pixels(kind, values, width, height)
        bare = len(row) == (_BARE_KEYS if exact is _NOT_THERE else _BARE_KEYS + 1)
        if not seen or not (bare or has_good_marks(row)):
            return None
        is_taught = bare or not (row.get("iscrowd") or row.get("ignore"))
        return SightedObject(desc, kind, seen, is_bins, is_taught)

    def _is_good_desc(self, desc: object) -> TypeGuard[str]:
        return (
            type(desc) is str
            and self._prefix not in desc
            and SPECIAL_START not in desc
            and bool(desc.strip())
            and (desc.isascii() or desc.encode("utf-8", "ignore").decode() == desc)
        )

    def _good_bins(
        self, kind: GeometryKind, tokens: list[object], exact: object, width: int, height: int
    ) -> tuple[int, ...]:
        """Return the bins of coord tokens, none where they need the full check."""
        known = self._bins
        try:
            bins = tuple([known[token] for token in tokens])
        except (KeyError, TypeError):
            return ()
        good = _has_good_form(kind, bins, thin=True)
        if good and exact is not _NOT_THERE:
            good = self._agree(bins, _good_pixels(kind, exact, width, height), width, height)
        return bins if good else ()

    def _agree(self, bins: tuple[int, ...], exact: Values, width: int, height: int) -> bool:
        if len(exact) != len(bins):
            return False
        across, down = self._last / width, self._last / height
        return all(
            -_SURELY_AGREES < x * across - x_bin < _SURELY_AGREES
            for x, x_bin in zip(exact[0::2], bins[0::2], strict=True)
        ) and all(
            -_SURELY_AGREES < y * down - y_bin < _SURELY_AGREES
            for y, y_bin in zip(exact[1::2], bins[1::2], strict=True)
        )


def _is_good_path(path: object) -> TypeGuard[str]:
    return type(path) is str and ".." not in path and _SAFE_PATH.fullmatch(path) is not None


def _is_good_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= LARGEST_SIZE_PX


def _good_pixels(kind: GeometryKind, values: object, width: int, height: int) -> Values:
    """Return the pixels of a geometry, none where they need the full check."""
    if type(values) is not list or not _NUMBERS.issuperset(map(type, values)):
        return ()
    if not _has_good_form(kind, values, thin=False):
        return ()
    if kind == "bbox_2d":  # its corners are in order
        inside = values[0] >= 0 <= values[1] and values[2] <= width and values[3] <= height
        return tuple(values) if inside else ()
    xs, ys = values[0::2], values[1::2]
    inside = min(xs) >= 0 <= min(ys) and max(xs) <= width and max(ys) <= height
    # A NaN can slip past min and max, but not through a sum.
    return tuple(values) if inside and sum(values) >= 0 else ()


def _has_good_form(kind: GeometryKind, values: Sequence[float], *, thin: bool) -> bool:
    if kind != "bbox_2d":
        return len(values) % 2 == 0 and len(values) >= 2 * LEAST_POINTS[kind]
    if len(values) != 4:  # noqa: PLR2004 - x1, y1, x2, y2
        return False
    x1, y1, x2, y2 = values
    return x1 <= x2 and y1 <= y2 if thin else x1 < x2 and y1 < y2
