"""The answers of a predictions file in a report, the worst first."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from coordexp.data.files.image import load_annotated_image
from coordexp.errors import RecordError
from coordexp.evaluation.measure.figures import Evaluation
from coordexp.evaluation.measure.instances import Floats, Objects
from coordexp.evaluation.measure.matching import ratio
from coordexp.evaluation.measure.mistakes import MISTAKE_KINDS
from coordexp.evaluation.measure.points import tally_points
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scored_objects import ScoredObject
from coordexp.viewing.answers import (
    AnswerBrowser,
    Mark,
    ShownAnswer,
    answer_browser,
    thumbnail_uri,
)

MOST_ANSWERS = 500
LEFT_OUT, NOWHERE, UNKNOWN = "left out", "point at nothing", "(no class)"


class Gallery(NamedTuple):
    """The answers as a report shows them.

    Args:
        told: Which ones, and how to read them.
        missing: How many pictures could not be opened, in words; empty for none.
        browser: The answers.
    """

    told: str
    missing: str
    browser: AnswerBrowser


def gallery(evaluation: Evaluation, folder: Path) -> Gallery:
    """Return the answers with their pictures, the worst first.

    Args:
        evaluation: The figures.
        folder: Of the predictions file.
    """
    source = _ImageObjects(evaluation)
    order = worst_first(evaluation)
    answers = [source.answer(image, folder) for image in order[:MOST_ANSWERS]]
    said = (
        "All answers"
        if len(answers) == len(order)
        else f"The {len(answers):,} worst of {len(order):,} answers"
    )
    missing = sum(answer.picture is None for answer in answers)
    return Gallery(
        f"{said}, the lowest F1@0.5 first. Mistakes are judged at IoU 0.5, points at 2 % of the "
        "diagonal or by what they hit. Where the file has "
        "token probabilities, the model's words are coloured by them: red below 0.25, orange "
        "below 0.5, yellow below 0.8, green below 0.95.",
        f"{missing} of {len(answers)} pictures could not be opened." if missing else "",
        answer_browser(answers),
    )


def worst_first(evaluation: Evaluation) -> list[int]:
    """Return the images by F1@0.5, then by their mistakes; those without objects come last."""
    f1 = _f1_with_points(evaluation) if evaluation.points else evaluation.images.tally.f1()[0]
    mistakes = evaluation.images.mistakes.sum(axis=0)
    order: list[int] = np.lexsort((-mistakes, np.where(np.isnan(f1), 1.0, f1))).tolist()
    return order


def _f1_with_points(evaluation: Evaluation) -> Floats:
    tally, points = evaluation.images.tally, tally_points(evaluation.points)
    every = tally.predicted[0] + tally.true + points.predicted + points.true
    return ratio(2 * (tally.found[0] + points.right), every)


def open_picture(row: Prediction, folder: Path) -> Image.Image | None:
    """Return the picture, or None where it cannot be opened: figures need no pictures."""
    try:
        return load_annotated_image(folder / row.root, row.record())
    except RecordError:
        return None


class _ImageObjects:
    """The objects of each image, with what became of them."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._truth = _places(evaluation.instances.truth)
        self._predicted = _places(evaluation.instances.predicted)
        self._true_points = _places(evaluation.instances.true_points)
        self._predicted_points = _places(evaluation.instances.predicted_points)
        self._points = tally_points(evaluation.points)

    def answer(self, image: int, folder: Path) -> ShownAnswer:
        row = self._evaluation.predictions[image]
        tally = self._evaluation.images.tally
        found = int(tally.found[0, image] + self._points.right[image])
        true = int(tally.true[image] + self._points.true[image])
        remark = f"{found} of {true} found, {len(row.predicted)} predicted"
        if row.status not in ("ok", None):
            remark += f"; answer {row.status}"
        picture = open_picture(row, folder)
        return ShownAnswer(
            title=row.image,
            remark=remark,
            picture=None if picture is None else thumbnail_uri(picture),
            size=(row.width, row.height),
            marks=[*self._true_marks(image, row), *self._predicted_marks(image, row)],
            tokens=row.tokens or [(row.raw_text, None)],
        )

    def _true_marks(self, image: int, row: Prediction) -> list[Mark]:
        marks = []
        for place, item in enumerate(row.truth):
            mistake = self._true_mistake(image, place)
            group, desc = self._group(item.desc), item.desc
            if item.marks.is_crowd or item.marks.is_ignored:
                desc += " (crowd)" if item.marks.is_crowd else " (ignored)"
            marks.append(Mark(desc, group, item.geometry, true=True, mistake=mistake))
        return marks

    def _true_mistake(self, image: int, place: int) -> str:
        points = self._evaluation.points
        if (index := self._true_points.get((image, place))) is not None:
            return "miss" if points.distance.sought[index] and not points.found[index] else ""
        if (index := self._truth.get((image, place))) is None:
            return LEFT_OUT
        return "miss" if self._evaluation.mistakes.missed[index] and not points.hit[index] else ""

    def _predicted_marks(self, image: int, row: Prediction) -> list[Mark]:
        mistakes = self._evaluation.mistakes
        truth, predicted = self._evaluation.instances.truth, self._evaluation.instances.predicted
        marks = []
        for place, item in enumerate(row.predicted):
            if (point := self._predicted_points.get((image, place))) is not None:
                marks.append(self._point_mark(point, item))
                continue
            index = self._predicted.get((image, place))
            mistake, also, score, desc = LEFT_OUT, None, item.score, item.desc
            if index is not None:
                kind, target = int(mistakes.kind[index]), int(mistakes.taken_for[index])
                mistake = MISTAKE_KINDS[kind] if kind >= 0 else ""
                also = self._name(int(truth.category[target])) if target >= 0 else None
                score = float(predicted.score[index])
                if not self._evaluation.matches.judged[0, index]:
                    desc += " (not judged)"
            group = self._group(item.desc)
            mark = Mark(desc, group, item.geometry, true=False, score=score)
            marks.append(replace(mark, mistake=mistake, also=also))
        return marks

    def _point_mark(self, index: int, item: ScoredObject) -> Mark:
        points = self._evaluation.points
        judged = "" if points.counted[index] else " (not judged)"
        mistake = "" if points.right[index] or judged else NOWHERE
        group = self._group(item.desc)
        mark = Mark(item.desc + judged, group, item.geometry, true=False, score=item.score)
        return replace(mark, mistake=mistake)

    def _group(self, desc: str) -> str:
        categories = self._evaluation.instances.categories
        return self._name(categories.id_of(desc) or categories.bucket_id)

    def _name(self, category: int) -> str:
        names: Sequence[str] = (*self._evaluation.instances.categories.names, UNKNOWN)
        return names[category - 1]


def _places(objects: Objects) -> dict[tuple[int, int], int]:
    pairs = zip(objects.image.tolist(), objects.place.tolist(), strict=True)
    return {pair: index for index, pair in enumerate(pairs)}
