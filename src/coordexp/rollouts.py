"""A model's own answers as lessons: records whose objects stand as the model would say them.

Training on the truth's order shows a model only scenes that are right so far; its own answers go
another way. Here each answer is matched to the truth and written as a record: the objects that it
found in the order in which it said them, each with the truth's words and geometry; then those that
it missed, top to bottom and left to right; what is wrong is left out. `coordexp train` teaches them
like any others, with `custom.object_ordering: record`.

An object is found where the evaluator says so at an IoU of 0.5, with its class right.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import bounding_box, is_flat
from coordexp.data.contract.record import Record, RecordObject, record_to_json
from coordexp.data.contract.text import checked_image_path
from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import InputError, RecordError
from coordexp.evaluation.measure.instances import collect_instances
from coordexp.evaluation.measure.matching import Matches, match
from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.evaluation.measure.scored_objects import ScoredObject
from coordexp.files import check_new_file


@dataclass(slots=True)
class RolloutCounts:
    """What was written.

    Args:
        records: Lines.
        found: Objects in the order of the answers.
        missed: Objects behind them.
        wrong: Predicted objects that were left out.
        flat: True boxes that were left out, for they have no area in pixels.
        moved: Records whose order is not the sorted one.
    """

    records: int = 0
    found: int = 0
    missed: int = 0
    wrong: int = 0
    flat: int = 0
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """An answer as a lesson.

    Args:
        record: What is taught.
        found: How many of its objects the model said, the first ones.
        flat: How many true boxes are not in it, for they have no area in pixels.
        moved: Whether the order is not the sorted one.
    """

    record: Record
    found: int
    flat: int
    moved: bool


def write_rollouts(predictions: Path, out: Path, *, overwrite: bool) -> RolloutCounts:
    """Write the records that a file of predictions makes, in pixels, and return counts.

    Args:
        predictions: Of `coordexp predict`, over records.
        out: JSONL to write, in the folder of the pictures or above it.
        overwrite: Whether it may be there already.

    Raises:
        InputError: If the predictions cannot be used, or `out` is there or in another place.
    """
    check_new_file(out, overwrite=overwrite)
    lines = read_predictions(predictions)
    counts = RolloutCounts()

    def rows() -> Iterator[Mapping[str, object]]:
        for line, rollout in zip(lines, build_rollouts(lines), strict=True):
            image = _image_beside(predictions, line, out)
            taught = [item for item in rollout.record.objects if item.marks.is_taught]
            counts.records += 1
            counts.found += rollout.found
            counts.missed += len(taught) - rollout.found
            counts.wrong += len(line.predicted) - rollout.found
            counts.flat += rollout.flat
            counts.moved += rollout.moved
            row = record_to_json(rollout.record, SPEC_ALPHABET)  # pixels, of no alphabet
            yield {**row, "images": [image]}

    write_jsonl(out, rows())
    return counts


def build_rollouts(lines: Sequence[Prediction]) -> list[Rollout]:
    """Return what each line of predictions teaches; paths of pictures as they are there."""
    matches = match(collect_instances(lines, matching="normalized", unknown="bucket"))
    said = _said(matches)
    return [_rollout(line, places) for line, places in zip(lines, said, strict=True)]


def _said(matches: Matches) -> list[list[int]]:
    """Return the places of each image's true objects that were found, as they were said."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    places: list[list[int]] = [[] for _ in matches.instances.sizes]
    found = matches.truth_of[0]
    for said in np.lexsort((predicted.place, predicted.image)).tolist():
        if found[said] >= 0:
            places[predicted.image[said]].append(int(truth.place[found[said]]))
    return places


def _rollout(line: Prediction, said: Sequence[int]) -> Rollout:
    in_order = sorted(range(len(line.truth)), key=lambda place: _top_left(line.truth[place]))
    shapes = [item.geometry for item in line.truth]
    whole = [place for place in in_order if not is_flat(shapes[place].kind, shapes[place].values)]
    first = [place for place in said if line.truth[place].marks.is_taught]
    found = set(first)
    order = [*first, *(place for place in whole if place not in found)]
    record = Record(
        images=(line.image,),
        width=line.width,
        height=line.height,
        objects=tuple(_object(line.truth[place]) for place in order),
        prompt=line.prompt,
        resized=line.resized,
        federated=line.federated,
    )
    taught = [place for place in whole if line.truth[place].marks.is_taught]
    moved = first != taught[: len(first)]
    return Rollout(record, len(first), len(in_order) - len(whole), moved=moved)


def _object(item: ScoredObject) -> RecordObject:
    return RecordObject(desc=item.desc, geometry=item.geometry, marks=item.marks)


def _top_left(item: ScoredObject) -> tuple[float, float]:
    x1, y1, _, _ = bounding_box(item.geometry.values)
    return y1, x1


def _image_beside(predictions: Path, line: Prediction, out: Path) -> str:
    """Return a picture's path relative to the folder of the records to be written."""
    picture = predictions.parent / line.root / line.image
    path = Path(os.path.relpath(picture, out.parent)).as_posix()
    try:
        return checked_image_path(path)
    except RecordError:
        folder = os.path.normpath(predictions.parent / line.root)
        raise InputError(
            f"{out}: expected a place in the folder of the pictures, {folder}, or above it, since "
            "records name their pictures from their own folder down"
        ) from None
