"""Predictions: what a model said about each image, beside what is true.

One line of `predictions.jsonl`::

    {"root": "../data", "image": "images/1.png", "width": 640, "height": 480,
     "gt": [{"desc": "cat", "bbox_2d": [10, 20.5, 300, 400]}],
     "pred": [{"desc": "cat", "bbox_2d": [11, 20, 300, 399], "score": 0.93}],
     "raw_text": "...", "parse": {"status": "ok", "dropped": []}, "finish_reason": "eos",
     "tokens": [["{", 1.0], ["cat", 0.97]]}

`image`, `width`, `height`, `gt` and `pred` have to be there, the rest is for those who know it:
other models' predictions need none of it. `root` is the dataset's folder relative to the
predictions file, its own folder where it is missing, and `image` a path relative to `root`. A
record's own `prompt` is repeated, for it tells apart what was asked about one picture.
All numbers are pixels of the original image; where `data prepare` has resized it, `resized` gives
the size of the file, as in a record. A box without area is allowed here, unlike in a record: a
model may say so. A prediction that overhangs its picture is clipped, and counted. A true object may
carry `iscrowd`, `ignore` and `area`, and a line `federated`, as in a record. `tokens` are pieces
of the answer with their probabilities. `min_score` says that what is below it was left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Never, get_args

from coordexp.data.contract.federated import Federated, parse_federated
from coordexp.data.contract.json_line import parse_json_line
from coordexp.data.contract.record import (
    Record,
    checked_image_path,
    parse_resized,
)
from coordexp.data.files.jsonl import read_lines
from coordexp.errors import InputError, RecordError
from coordexp.evaluation.measure.collector import collector_paused
from coordexp.evaluation.measure.fields import list_at, mapping_of, number_of, size_at, text_at
from coordexp.evaluation.measure.scored_objects import ScoredObject, parse_scored_object

ParseStatus = Literal["ok", "salvaged", "failed"]
PARSE_STATUSES: tuple[ParseStatus, ...] = get_args(ParseStatus)
_NEEDED = ("image", "width", "height", "gt", "pred")


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
        status: Whether the answer could be read as a whole, in part or not at all; None where that
            is not known.
        dropped: What was left of the answer.
        finish_reason: Why generation ended: `eos` or `length`; None where that is not known.
        prompt: The record's own, where it has one.
        resized: Width and height of the picture's file, where `data prepare` has resized it.
        tokens: The pieces of the answer and how probable each was; empty where that is not known.
        federated: Which classes were searched for, where that was not all of them.
        min_score: What has a lower score was left out when it was predicted; None for nothing.
    """

    root: str
    image: str
    width: int
    height: int
    truth: tuple[ScoredObject, ...]
    predicted: tuple[ScoredObject, ...]
    raw_text: str
    status: ParseStatus | None
    dropped: tuple[DroppedText, ...]
    finish_reason: str | None
    prompt: str | None = None
    resized: tuple[int, int] | None = None
    tokens: tuple[tuple[str, float], ...] = ()
    federated: Federated | None = None
    min_score: float | None = None

    def record(self) -> Record:
        """Return a record of the picture without its objects, for opening it."""
        return Record((self.image,), self.width, self.height, (), resized=self.resized)


@collector_paused()
def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """Return every line of a predictions file.

    Raises:
        InputError: If the file cannot be read or is empty.
        RecordError: If a line breaks the contract; it names file, line and object.
    """
    predictions = []
    for line, text in read_lines(path):
        try:
            predictions.append(parse_prediction(_decoded(text)))
        except RecordError as error:
            raise error.at(path, line) from None
    if not predictions:
        raise InputError(f"{path}: the file is empty; expected one prediction a line")
    return tuple(predictions)


class _CloseLookError(ValueError):
    """A line that only `parse_json_line` can judge."""


def _close_look(_: object) -> Never:
    raise _CloseLookError


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _close_look(pairs)


_DECODER = json.JSONDecoder(parse_constant=_close_look, object_pairs_hook=_distinct)


def _decoded(line: bytes) -> object:
    """Return the JSON value of a line; `parse_json_line` finds the words for what is wrong.

    That one is made for records: a line with a colon in a string, as every answer has, it reads
    twice.
    """
    try:
        return _DECODER.decode(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return parse_json_line(line)


def parse_prediction(data: object) -> Prediction:
    """Return the prediction that a decoded JSON line holds.

    Raises:
        RecordError: If the line breaks the contract.
    """
    row = mapping_of(data, "a prediction")
    _check_present(row)
    width, height = size_at(row, "width"), size_at(row, "height")
    status, dropped = _parse(row)
    return Prediction(
        root=text_at(row, "root") if "root" in row else ".",
        image=checked_image_path(row.get("image")),
        width=width,
        height=height,
        truth=_objects(row, "gt", width, height),
        predicted=_objects(row, "pred", width, height),
        raw_text=text_at(row, "raw_text") if "raw_text" in row else "",
        status=status,
        dropped=dropped,
        finish_reason=text_at(row, "finish_reason") if "finish_reason" in row else None,
        prompt=text_at(row, "prompt") if "prompt" in row else None,
        resized=parse_resized(row),
        tokens=_tokens(row),
        federated=parse_federated(row),
        min_score=number_of(row["min_score"], "min_score") if "min_score" in row else None,
    )


def _check_present(row: Mapping[str, object]) -> None:
    absent = [key for key in _NEEDED if key not in row]
    if absent and absent != ["gt"]:  # that one has words of its own
        raise RecordError(f"missing: {', '.join(absent)}; a line needs {', '.join(_NEEDED)}")


def _parse(row: Mapping[str, object]) -> tuple[ParseStatus | None, tuple[DroppedText, ...]]:
    if "parse" not in row:
        return None, ()
    parse = mapping_of(row["parse"], "parse")
    status = parse.get("status")
    if status not in PARSE_STATUSES:
        raise RecordError(f"parse.status: expected {' | '.join(PARSE_STATUSES)}, got {status!r}")
    return status, tuple(_dropped(item) for item in list_at(parse, "dropped"))


def _objects(
    row: Mapping[str, object], key: Literal["gt", "pred"], width: int, height: int
) -> tuple[ScoredObject, ...]:
    objects = []
    for index, item in enumerate(list_at(row, key)):
        try:
            objects.append(parse_scored_object(item, width, height, scored=key == "pred"))
        except RecordError as error:
            raise RecordError(f"{key}[{index}]: {error.message}") from None
    return tuple(objects)


def _tokens(row: Mapping[str, object]) -> tuple[tuple[str, float], ...]:
    if "tokens" not in row:
        return ()
    tokens = []
    for index, pair in enumerate(list_at(row, "tokens")):
        match pair:
            case [str() as piece, float() | int() as probability] if 0 <= probability <= 1:
                tokens.append((piece, float(probability)))
            case _:
                raise RecordError(
                    f"tokens[{index}]: expected a text and its probability, got {pair!r}"
                )
    return tuple(tokens)


def _dropped(data: object) -> DroppedText:
    row = mapping_of(data, "parse.dropped[]")
    return DroppedText(reason=text_at(row, "reason"), text=text_at(row, "text"))
