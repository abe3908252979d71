"""Pictures with objects in pixels: those of records, or those that a model predicted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.chat import is_chat
from coordexp.data.contract.geometry import Box, bounding_box
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, GeometryKind
from coordexp.data.contract.marks import NO_MARKS, Marks
from coordexp.data.contract.record import parse_record
from coordexp.data.contract.text import checked_image_path
from coordexp.data.files.jsonl import read_rows
from coordexp.errors import InputError, RecordError


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One object.

    Args:
        desc: What it is.
        kind: Of its geometry.
        values: In pixels.
        marks: How it counts.
        score: Of a prediction, None of a record's object.
    """

    desc: str
    kind: GeometryKind
    values: tuple[float, ...]
    marks: Marks = NO_MARKS
    score: float | None = None

    @property
    def box(self) -> Box:
        """Its bounding box."""
        return bounding_box(self.values)


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One picture.

    Args:
        root: The folder that its path is relative to.
        image: Its path.
        width: In pixels.
        height: In pixels.
        objects: On it.
        image_id: Its number in the annotation file that it came from, None where there is none.
    """

    root: Path
    image: str
    width: int
    height: int
    objects: Sequence[LabelledObject]
    image_id: int | None = None


def is_predictions(path: Path) -> bool:
    """Return whether a file holds predictions, by its first line.

    Raises:
        InputError: If it cannot be read, or is empty.
    """
    first = next((row for _, row in read_rows(path)), None)
    if first is None:
        raise InputError(f"{path}: the file is empty; expected one record or prediction a line")
    return isinstance(first, dict) and "pred" in first


def labelled_pictures(path: Path, alphabet: CoordAlphabet) -> Iterator[LabelledPicture]:
    """Yield the pictures of a file of records or of predictions; chats are passed over.

    Raises:
        RecordError: If a line is neither.
        InputError: If the file cannot be read.
    """
    predicted = is_predictions(path)
    for number, row in read_rows(path):
        if is_chat(row):
            continue
        try:
            yield _predicted(row, path) if predicted else _recorded(row, path, alphabet)
        except RecordError as error:
            raise error.at(path, number) from None


def _recorded(row: object, path: Path, alphabet: CoordAlphabet) -> LabelledPicture:
    record = parse_record(row, alphabet)
    number = record.metadata.get("image_id")
    objects = [
        LabelledObject(
            desc=item.desc,
            kind=item.geometry.kind,
            values=item.best_geometry.to_pixels(record.width, record.height, alphabet),
            marks=item.marks,
        )
        for item in record.objects
    ]
    return LabelledPicture(
        path.parent,
        record.image,
        record.width,
        record.height,
        objects,
        number if type(number) is int else None,
    )


def _predicted(row: object, path: Path) -> LabelledPicture:
    fields = row if isinstance(row, dict) else {}
    match fields:
        case {
            "image": str(image),
            "width": int(width),
            "height": int(height),
            "pred": list(objects),
        }:
            root = path.parent / str(fields.get("root", "."))
            checked_image_path(image)
            said = [_said(item, at) for at, item in enumerate(objects)]
            return LabelledPicture(root, image, width, height, said)
    raise RecordError("expected a prediction: image, width, height and pred")


def _said(item: object, at: int) -> LabelledObject:
    # Not as a record's object: what a model says may have no area, and is shown as it is.
    fields = item if isinstance(item, dict) else {}
    match fields:
        case {"desc": str(desc), "score": int(score) | float(score)}:
            for kind in GEOMETRY_KINDS:
                values = fields.get(kind)
                if isinstance(values, list) and all(type(v) in (int, float) for v in values):
                    return LabelledObject(desc, kind, tuple(map(float, values)), score=float(score))
    raise RecordError("pred: expected desc, score and one geometry in pixels", obj=at)
