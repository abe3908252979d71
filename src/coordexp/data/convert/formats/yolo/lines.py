"""The lines of YOLO's label files, and what their columns mean.

A line is `class cx cy width height` or `class x y x y x y ...`, an outline, in shares of the
picture. Programs add columns when they write what a model found: a confidence, and a track's number
behind it. Five values can only be a box and one of these. Six are a triangle as well, so all lines
are surveyed before one is read: boxes inside the picture with a confidence and a whole number
behind, all of them and no longer outline, are taken for that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordexp.data.convert.reading.class_numbers import check_numbers_start_at_0
from coordexp.data.convert.reading.shapes import Shape, UnusableError, finite_numbers, size_to_box
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError

_BOX, _SCORED, _TRACKED, _LEAST_OUTLINE = 4, 5, 6, 6
_BEYOND = 2
"""No share is above this: a box that is as wide as the picture and half outside ends at 1.5."""

_ROUNDING = 0.01
_ENOUGH = 3
"""Lines of outlines that end alike, before the end is taken for more than chance."""

NO_SHARE = "coordinates that are no shares of the picture, for they are above 1 by far"
_NO_SCORE = (
    "a fifth value that is no confidence, for one is not between 0 and 1 (or the box is not)"
)
_LEFT_OUT = "a confidence or track number behind the box: left out"


@dataclass(frozen=True, slots=True)
class ExtraColumns:
    """What the columns behind the first four mean.

    Args:
        scored: Whether a fifth value is a confidence.
        tracked: Whether a fifth and a sixth are a confidence and a track's number.
    """

    scored: bool = False
    tracked: bool = False


@dataclass(slots=True)
class _Kind:
    """Lines with as many values: how many there are, and how many are as is asked."""

    count: int = 0
    fit: int = 0

    def add(self, *, fits: bool) -> None:
        self.count += 1
        self.fit += fits

    @property
    def all_fit(self) -> bool:
        return (
            self.count > 0 and 100 * (self.count - self.fit) <= self.count
        )  # a broken line may be


@dataclass(slots=True)
class _Survey:
    numbers: dict[int, str] = field(default_factory=dict)
    lines: int = 0
    beyond: int = 0
    first_beyond: str = ""
    scored: _Kind = field(default_factory=_Kind)
    tracked: _Kind = field(default_factory=_Kind)
    outlines: _Kind = field(default_factory=_Kind)
    first_six: str = ""
    first_outline: str = ""

    def add(self, line: str, place: str) -> None:
        try:
            number, *values = map(float, line.split())
        except ValueError:
            return
        self.lines += 1
        if number.is_integer():
            self.numbers.setdefault(int(number), place)
        if any(abs(value) > _BEYOND for value in values[:_BOX]):
            self.beyond += 1
            self.first_beyond = self.first_beyond or place
        ends_whole = line.rsplit(None, 1)[-1].isdigit()
        if len(values) == _SCORED:
            self.scored.add(fits=_is_scored(values))
        elif len(values) == _TRACKED:
            self.first_six = self.first_six or place
            self.tracked.add(fits=_is_scored(values) and ends_whole)
        elif len(values) > _TRACKED and len(values) % 2 == 0:
            self.first_outline = self.first_outline or place
            broken = not all(value.is_integer() for value in values)
            self.outlines.add(fits=broken and 0 < values[-2] < 1 and ends_whole)


def survey_lines(texts: Mapping[Path, str], names: Mapping[int, str]) -> ExtraColumns:
    """Return what the columns of all label files mean.

    Args:
        texts: What stands in each of them.
        names: Of the classes, by number.

    Raises:
        InputError: If most coordinates are pixels, classes count from 1, or it is not clear what
            the columns mean.
    """
    survey = _Survey()
    for file, text in texts.items():
        for place, line in _lines(file, text):
            survey.add(line, place)
    if 2 * survey.beyond > survey.lines:
        raise InputError(
            f"{survey.first_beyond}: coordinates above {_BEYOND}, here and in {survey.beyond:,} of "
            f"{survey.lines:,} lines; YOLO's are shares of the picture, from 0 to 1, and these "
            "seem to be pixels. Divide them by the picture's width and height"
        )
    check_numbers_start_at_0(survey.numbers, names)
    _check_outlines(survey)
    return ExtraColumns(
        scored=survey.scored.all_fit and not survey.outlines.count,
        tracked=survey.tracked.all_fit,
    )


def _check_outlines(survey: _Survey) -> None:
    if survey.tracked.all_fit and survey.outlines.count:
        raise InputError(
            f"{survey.first_six}: six values may be a triangle, or a box with a confidence and a "
            f"track number; there are outlines as well ({survey.first_outline}), so that nothing "
            "shows which. Remove the columns that are no coordinates"
        )
    if survey.outlines.all_fit and survey.outlines.count >= _ENOUGH:
        raise InputError(
            f"{survey.first_outline}: ends in a whole number, as all {survey.outlines.count:,} "
            "outlines do: a confidence and a track number seem to stand behind them. Remove the "
            "columns that are no coordinates"
        )


def _is_scored(values: Sequence[float]) -> bool:
    """Return whether the first values are a box inside the picture and a confidence."""
    cx, cy, width, height, score = values[:_SCORED]
    sides = ((cx, width), (cy, height))
    return 0 < score <= 1 and all(
        size > 0 and at - size / 2 >= -_ROUNDING and at + size / 2 <= 1 + _ROUNDING
        for at, size in sides
    )


def _lines(file: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{file}:{number}", line


def text_to_shapes(
    file: Path, text: str, names: Mapping[int, str], columns: ExtraColumns, tally: Tally
) -> Iterator[Shape]:
    """Yield the shapes of a label file; what is no shape is dropped."""
    for place, line in _lines(file, text):
        try:
            shape, extra = _shape(line, names, columns, place)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place)
            continue
        if extra:
            tally.add("object", "noted", _LEFT_OUT, place)
        yield shape


def _shape(
    line: str, names: Mapping[int, str], columns: ExtraColumns, place: str
) -> tuple[Shape, bool]:
    """Return the shape of a line, and whether it has columns that are left out."""
    try:
        number, *values = map(float, line.split())
    except ValueError:
        raise UnusableError("a line that is not numbers") from None
    if number not in names:
        raise UnusableError("a class number without a name")
    desc = names[int(number)]
    coordinates = finite_numbers(values)
    has_extra = {_SCORED: columns.scored, _TRACKED: columns.tracked}.get(len(values), False)
    extra = has_extra and _is_scored(values)
    if extra:
        coordinates = coordinates[:_BOX]
    elif len(values) == _SCORED:
        raise UnusableError(_NO_SCORE)
    if any(abs(value) > _BEYOND for value in coordinates):
        raise UnusableError(NO_SHARE)
    if len(coordinates) == _BOX:
        cx, cy, width, height = coordinates
        box = size_to_box((cx - width / 2, cy - height / 2, width, height))
        return Shape(desc=desc, place=place, box=box, unit="share"), extra
    if len(coordinates) < _LEAST_OUTLINE or len(coordinates) % 2:
        raise UnusableError("a line with neither 4 values nor an outline's pairs")
    return Shape(desc=desc, place=place, outlines=(coordinates,), unit="share"), False
