"""Coordinates that the contract allows and experience does not.

Each warning is a guess, and none stops a run. Objects that break the contract are left out: they
are reported anyway.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordexp.data.audit.findings import Place
from coordexp.data.contract.crossing import crossing_outlines
from coordexp.data.contract.faults import Rule
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.objects import RecordObject

Values = tuple[float, ...]
Indexed = tuple[int, RecordObject]


def _warning(name: str, fix: str) -> Rule:
    return Rule(name, "warning", fix)


NORMALISED_1 = _warning(
    "normalised-0-1", "multiply x by width and y by height: numbers are pixels here"
)
NORMALISED_1000 = _warning(
    "normalised-0-1000",
    "multiply x by width / 1000 and y by height / 1000: numbers are pixels here",
)
CONSTANT_BOX = _warning("constant-box", "see whether a placeholder stands for real annotations")
DUPLICATE_OBJECT = _warning("duplicate-object", "drop one; the model learns to answer twice")
CROSSING_POLYGON = _warning(
    "crossing-polygon", "kept as it is; draw it again where its area matters"
)

PER_MILLE = 1000
# How far edges that all stay within 1000 are from chance, were they spread evenly over pictures
# that go further, in nats: 1 in 10,000. And the share of a file's records it takes.
SURPRISE, LEAST_SHARE = math.log(10_000), 0.9
LEAST_CONSTANT, CONSTANT_SHARE = 10, 0.2
MOST_BOXES = 50_000
OUTLINES_AT_ONCE = 1000


@dataclass(slots=True)
class _FileState:
    """What is remembered of a file until its end.

    Args:
        boxes: How often a box was seen, and where first. Where more than `MOST_BOXES` are
            different, the rare ones are forgotten (Misra and Gries' count: too low by at most one
            in `MOST_BOXES` of all boxes).
        box_count: All boxes.
        large: Records in pixels whose picture is wider or higher than 1000.
        within: Of those, the lines where no coordinate is above 1000.
        surprise: How unlikely that is, in nats.
        outlines: Polygons that are still to be looked at, with line and object.
    """

    boxes: dict[Values, list[int]] = field(default_factory=dict)
    box_count: int = 0
    large: int = 0
    within: list[int] = field(default_factory=list)
    surprise: float = 0.0
    outlines: list[tuple[int, int, Values]] = field(default_factory=list)


class Suspicion:
    """Watches the objects of one file after the other.

    Args:
        add: Called with each warning.
        last_bin: Of the alphabet.
    """

    def __init__(self, add: Callable[[Rule, Place], None], last_bin: int) -> None:
        self._add = add
        self._whole_bins: Values = (0, 0, last_bin, last_bin)
        self._path = Path()
        self._file = _FileState()

    def start_file(self, path: Path) -> None:
        """Begin another file."""
        self._path = path
        self._file = _FileState()

    def watch(self, line: int, width: int, height: int, objects: Sequence[Indexed]) -> None:
        """Take note of the good objects of a record, each with its index."""
        if len({(item.desc, item.geometry.values) for _, item in objects}) < len(objects):
            self._warn_of_doubles(line, objects)
        state, in_pixels = self._file, []
        for index, item in objects:
            geometry = item.geometry
            kind, values = geometry.kind, geometry.values
            if geometry.rules.form == "corners":
                self._count_box(line, index, width, height, geometry)
            elif geometry.rules.form == "ring" and item.marks.is_taught:
                state.outlines.append((line, index, values))
            if geometry.unit == "bin":
                continue
            in_pixels.append(values)
            if _is_fraction(values) and min(width, height) > 2:  # noqa: PLR2004 - a picture that small
                message = f"no coordinate is above 1 on {width} x {height} pixels"
                self._warn(NORMALISED_1, line, index, f"{kind}: {message}")
        self._weigh_large(line, width, height, in_pixels)
        if len(state.outlines) >= OUTLINES_AT_ONCE:
            self._warn_of_crossing()

    def end_file(self) -> None:
        """Warn of what only the end of a file shows."""
        state = self._file
        self._warn_of_crossing()
        for values, (count, line, index) in state.boxes.items():
            if count >= LEAST_CONSTANT and count >= CONSTANT_SHARE * state.box_count:
                told = list(values) or "the whole picture"
                message = f"bbox_2d: {count:,} of {state.box_count:,} boxes are {told}"
                self._warn(CONSTANT_BOX, line, index, message)
        if state.surprise < SURPRISE or len(state.within) < LEAST_SHARE * state.large:
            return
        for line in state.within:
            message = "no coordinate is above 1000, although the picture is larger"
            self._warn(NORMALISED_1000, line, None, message)

    def _count_box(self, line: int, index: int, width: int, height: int, box: Geometry) -> None:
        state, key = self._file, box.values
        if key == (self._whole_bins if box.unit == "bin" else (0, 0, width, height)):
            key = ()
        state.box_count += 1
        seen = state.boxes.get(key)
        if seen is None:
            state.boxes[key] = [1, line, index]
            if len(state.boxes) > MOST_BOXES:
                state.boxes = _less_one(state.boxes)
        else:
            seen[0] += 1

    def _weigh_large(self, line: int, width: int, height: int, boxes: list[Values]) -> None:
        if not boxes or max(width, height) <= PER_MILLE:
            return
        largest = max(map(max, boxes))
        if largest <= 1:  # fractions stay below 1000 as well, and are something else
            return
        state = self._file
        state.large += 1
        if largest > PER_MILLE:
            return
        state.within.append(line)
        for size in (width, height):
            if size > PER_MILLE:
                state.surprise += len(boxes) * math.log(size / PER_MILLE)

    def _warn_of_crossing(self) -> None:
        """Look at the outlines that have gathered: many at once take a third of the time."""
        outlines = self._file.outlines
        for place in crossing_outlines([values for _, _, values in outlines]):
            line, index, _ = outlines[place]
            self._warn(CROSSING_POLYGON, line, index, "poly: its outline crosses itself")
        outlines.clear()

    def _warn_of_doubles(self, line: int, objects: Sequence[Indexed]) -> None:
        first: dict[tuple[str, Values, str], int] = {}
        for index, item in objects:
            if not item.marks.is_taught:
                continue
            earlier = first.setdefault((item.desc, item.geometry.values, item.geometry.unit), index)
            if earlier != index:
                message = f"the same as objects[{earlier}]: {item.desc!r}"
                self._warn(DUPLICATE_OBJECT, line, index, message)

    def _warn(self, rule: Rule, line: int, obj: int | None, message: str) -> None:
        self._add(rule, Place(self._path, line, obj, message))


def _is_fraction(values: Values) -> bool:
    """Return whether no coordinate is above 1; the first tells of most that one is."""
    return values[0] <= 1 and max(values) <= 1


def _less_one(boxes: dict[Values, list[int]]) -> dict[Values, list[int]]:
    return {key: [seen[0] - 1, *seen[1:]] for key, seen in boxes.items() if seen[0] > 1}
