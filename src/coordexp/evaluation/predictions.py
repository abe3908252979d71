"""Predictions: what a model said about each image, beside what is true.

One line of `predictions.jsonl`::

    {"root": "../data", "image": "images/1.png", "width": 640, "height": 480,
     "gt": [{"desc": "cat", "bbox_2d": [10, 20.5, 300, 400]}],
     "pred": [{"desc": "cat", "bbox_2d": [11, 20, 300, 399], "score": 0.93}],
     "raw_text": "...", "parse": {"status": "ok", "dropped": []}, "finish_reason": "eos"}

`root` is the dataset's folder relative to the predictions file, `image` a path relative to `root`.
All numbers are pixels of the original image. A box without area is allowed here, unlike in a
record: a model may say so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from coordexp.data.jsonl import read_rows
from coordexp.data.record import (
    GEOMETRY_KINDS,
    Geometry,
    GeometryKind,
    Record,
    checked_image_path,
    parse_geometry,
)
from coordexp.errors import InputError, RecordError

ParseStatus = Literal["ok", "salvaged", "failed"]
PARSE_STATUSES: tuple[ParseStatus, ...] = get_args(ParseStatus)


@dataclass(frozen=True, slots=True)
class ScoredObject:
    """One object; a true one has score 1.

    Args:
        desc: What it is, in words.
        geometry: Where it is, in pixels.
        score: How sure the model is; only the order matters to average precision.
        score_parts: What the score was made of.
    """

    desc: str
    geometry: Geometry
    score: float
    score_parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DroppedText:
    """A piece of the answer that became no object.

    Args:
        reason: A short fixed phrase, so that reasons can be counted.
        text: The piece.
    """

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """One line of a predictions file.

    Args:
        root: The dataset's folder, relative to the predictions file.
        image: The picture, relative to `root`.
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        truth: What is there.
        predicted: What the model says.
        raw_text: Its answer, word for word.
        status: Whether the answer could be read as a whole, in part or not at all.
        dropped: What was left of the answer.
        finish_reason: Why generation ended: `eos` or `length`.
    """

    root: str
    image: str
    width: int
    height: int
    truth: tuple[ScoredObject, ...]
    predicted: tuple[ScoredObject, ...]
    raw_text: str
    status: ParseStatus
    dropped: tuple[DroppedText, ...]
    finish_reason: str

    def record(self) -> Record:
        """Return a record of the picture without its objects, for opening it."""
        return Record(images=(self.image,), width=self.width, height=self.height, objects=())


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """Return every line of a predictions file.

    Raises:
        InputError: If the file cannot be read or is empty.
        RecordError: If a line breaks the contract; it names file, line and object.
    """
    predictions = []
    for line, row in read_rows(path):
        try:
            predictions.append(parse_prediction(row))
        except RecordError as error:
            raise error.at(path, line) from None
    if not predictions:
        raise InputError(f"{path}: the file is empty; expected one prediction a line")
    return tuple(predictions)


def parse_prediction(data: object) -> Prediction:
    """Return the prediction that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract.
    """
    row = _mapping(data, "a prediction")
    width, height = _size(row, "width"), _size(row, "height")
    parse = _mapping(row.get("parse"), "parse")
    status = parse.get("status")
    if status not in PARSE_STATUSES:
        raise RecordError(f"parse.status: expected {' | '.join(PARSE_STATUSES)}, got {status!r}")
    return Prediction(
        root=_text(row, "root"),
        image=checked_image_path(row.get("image")),
        width=width,
        height=height,
        truth=_objects(row, "gt", width, height),
        predicted=_objects(row, "pred", width, height),
        raw_text=_text(row, "raw_text"),
        status=status,
        dropped=tuple(_dropped(item) for item in _list(parse, "dropped")),
        finish_reason=_text(row, "finish_reason"),
    )


def _objects(
    row: Mapping[str, object], key: Literal["gt", "pred"], width: int, height: int
) -> tuple[ScoredObject, ...]:
    objects = []
    for index, item in enumerate(_list(row, key)):
        try:
            objects.append(_object(item, width, height, scored=key == "pred"))
        except RecordError as error:
            raise RecordError(f"{key}[{index}]: {error.message}") from None
    return tuple(objects)


def _object(data: object, width: int, height: int, *, scored: bool) -> ScoredObject:
    row = _mapping(data, "an object")
    kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else "none of them"
        raise RecordError(f"exactly one of {', '.join(GEOMETRY_KINDS)}; got {got}")
    desc = _text(row, "desc")
    if not desc.strip():
        raise RecordError("desc: expected text that is not empty")
    parts = _mapping(row.get("score_parts", {}), "score_parts")
    return ScoredObject(
        desc=desc,
        geometry=_geometry(kinds[0], row[kinds[0]], width, height),
        score=_number(row.get("score"), "score") if scored else 1.0,
        score_parts={name: _number(part, f"score_parts.{name}") for name, part in parts.items()},
    )


def _geometry(kind: GeometryKind, values: object, width: int, height: int) -> Geometry:
    flat = kind == "bbox_2d" and _has_no_area(values)
    # A line has a box's other rules: four finite pixels inside the image.
    geometry = parse_geometry("line" if flat else kind, values, width, height)
    if geometry.unit != "px":
        raise RecordError(f"{kind}: expected pixels, got coord tokens")
    return replace(geometry, kind=kind)


def _has_no_area(values: object) -> bool:
    match values:
        case [int() | float() as x1, int() | float() as y1, int() | float() as x2, y2] if (
            isinstance(y2, int | float)
        ):
            return x1 <= x2 and y1 <= y2 and (x1 == x2 or y1 == y2)
    return False


def _dropped(data: object) -> DroppedText:
    row = _mapping(data, "parse.dropped[]")
    return DroppedText(reason=_text(row, "reason"), text=_text(row, "text"))


def _mapping(data: object, name: str) -> Mapping[str, object]:
    if not isinstance(data, dict):
        raise RecordError(f"{name}: expected a JSON object, got {type(data).__name__}")
    return data


def _list(row: Mapping[str, object], key: str) -> list[object]:
    value = row.get(key)
    if not isinstance(value, list):
        raise RecordError(f"{key}: expected a list (empty is fine), got {type(value).__name__}")
    return value


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise RecordError(f"{key}: expected text, got {type(value).__name__}")
    return value


def _size(row: Mapping[str, object], key: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RecordError(f"{key}: expected a positive whole number of pixels, got {value!r}")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise RecordError(
            f"{name}: expected a finite number, got {value!r}; "
            "a model without scores gets 1.0 everywhere, and the figures say so"
        )
    return value
