"""What a reader hands on: pictures and shapes, in the numbers of the file that they come from."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry import Box
from coordexp.data.contract.marks import NO_MARKS, Marks

_FARTHEST = 1e9  # arithmetic below it stays finite


class UnusableError(Exception):
    """A shape or picture that cannot become part of a record; it is dropped and counted.

    Args:
        reason: In the words of the report; what shares a reason is counted together.
        asked: Whether the user's own options leave it out, so that nothing is wrong with it.
        detail: What is only so here, such as the names of files; said of the first one.
    """

    def __init__(self, reason: str, *, asked: bool = False, detail: str = "") -> None:
        self.reason = reason
        self.asked = asked
        self.detail = detail
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Shape:
    """One annotated thing. At least one of box, outlines, mask, line and point is there.

    Args:
        desc: Its class name or phrase.
        place: Where it stands in its file.
        box: x1, y1, x2, y2 as edges.
        outlines: Rings of x, y, x, y, ...; more than one where the thing is in pieces.
        mask: COCO's run-length encoding, as it stands in the file, of the whole picture.
        line: An open line, x, y, x, y, ...
        point: A place, x and y.
        whole: The class of the thing that a named point is on; `--include` knows it by both.
        marks: Whether it is a crowd, or ignored, and its stated area.
        box_flaw: What is wrong with its box, which is then None.
        outline_flaw: What is wrong with its outlines, of which there are then none.
        unit: Pixels, or shares of the picture's width and height.
    """

    desc: str
    place: str
    box: Box | None = None
    outlines: tuple[tuple[float, ...], ...] = ()
    mask: Mapping[str, object] | None = None
    line: tuple[float, ...] | None = None
    point: tuple[float, float] | None = None
    whole: str | None = None
    marks: Marks = NO_MARKS
    box_flaw: str | None = None
    outline_flaw: str | None = None
    unit: Literal["px", "share"] = "px"

    def in_pixels(self, width: int, height: int) -> "Shape":
        """Return the same in pixels of a picture of this size."""
        if self.unit == "px":
            return self

        def scaled(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(value * (height if at % 2 else width) for at, value in enumerate(values))

        box = None
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            box = (x1 * width, y1 * height, x2 * width, y2 * height)
        return replace(self, box=box, outlines=tuple(map(scaled, self.outlines)), unit="px")


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """A picture inside its annotation file.

    Args:
        name: What its file is called where it becomes one: a relative path without a suffix.
        data: The file in base64, as it stands there.
    """

    name: PurePosixPath
    data: str


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """One picture and what is on it.

    Args:
        names: What its file is called, the likeliest first.
        folders: Where it may be, the likeliest first.
        place: Where it stands in its file.
        shapes: What is on it.
        width: As the annotation states it, unchecked; None where it does not.
        height: The same.
        summary: Text about the whole picture.
        metadata: What is kept beside it.
        stem: What the annotation file is called, where each picture has its own.
        rivals: What the other annotation files beside that one are called, as `fold_case` writes
            it: their pictures are not this one's.
        embedded: The picture itself, for where its file is not there.
        federated: Which classes were searched for, where that was not all of them.
    """

    names: tuple[str, ...]
    folders: tuple[Path, ...]
    place: str
    shapes: tuple[Shape, ...]
    width: object = None
    height: object = None
    summary: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    stem: str | None = None
    rivals: frozenset[str] = frozenset()
    embedded: EmbeddedPicture | None = None
    federated: Federated | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that is about to be read.

    Args:
        root: The folder of the pictures; none outside it is opened.
        pictures: In the order of the files.
        category_ids: The numbers of its classes, where it has numbers that results are told by.
    """

    root: Path
    pictures: Iterator[SourcePicture]
    category_ids: Mapping[str, int] = field(default_factory=dict)


def finite_numbers(values: object) -> tuple[float, ...]:
    """Return a flat list as floats.

    Raises:
        UnusableError: If it is no list, or holds anything but finite numbers of a sane size.
    """
    if not isinstance(values, list | tuple):
        raise UnusableError("coordinates that are no list of numbers")
    for value in values:
        if isinstance(value, str):
            raise UnusableError("coordinates that are written as text")
        if type(value) not in (int, float) or not abs(value) < math.inf:
            raise UnusableError("coordinates that are no finite numbers")
        if abs(value) > _FARTHEST:
            raise UnusableError("coordinates beyond any picture")
    return tuple(map(float, values))


def corners_to_box(values: object) -> Box:
    """Return x1, y1, x2, y2.

    Raises:
        UnusableError: If they are not four finite numbers, or in the wrong order.
    """
    numbers = finite_numbers(values)
    if len(numbers) != 4:  # noqa: PLR2004 - two corners
        raise UnusableError("a box without four numbers")
    x1, y1, x2, y2 = numbers
    if x2 < x1 or y2 < y1:
        raise UnusableError("a box whose corners are in the wrong order")
    return x1, y1, x2, y2


def size_to_box(values: object) -> Box:
    """Return x1, y1, x2, y2 of x, y, width, height.

    Raises:
        UnusableError: If they are not four finite numbers, or a size is negative.
    """
    numbers = finite_numbers(values)
    if len(numbers) != 4:  # noqa: PLR2004 - a corner and a size
        raise UnusableError("a box without four numbers")
    x, y, width, height = numbers
    if width < 0 or height < 0:
        raise UnusableError("a box of negative width or height")
    return x, y, x + width, y + height


def whole_pixels(value: object) -> int | None:
    """Return a size that an annotation states, or None where it states none.

    Raises:
        UnusableError: If it is no whole number above 0.
    """
    if value is None:
        return None
    if type(value) is int or (type(value) is float and value.is_integer()):
        size = int(value)
        if size > 0:
            return size
    raise UnusableError("a picture whose size is no whole number above 0")
