"""Average precision from cached matches, for any weight of each image.

The same figure as COCO's, which `coco.py` takes from faster-coco-eval; there it is computed once,
here as often as images are drawn anew. An image that was drawn twice counts twice: its predictions
stand beside each other in the ranking, and between them precision only rises or only falls, so a
weight does what a copy would do.
"""

from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.average_precision import most_detections
from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.matching import STEPS, Matches

RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class _RankedClass:
    """The predictions of a class, the surest first.

    Args:
        image: Of each prediction.
        correct: `[threshold, prediction]`.
        wrong: The same; neither is what is not judged.
        true_images: Of each true object.
    """

    image: Ints
    correct: Bools
    wrong: Bools
    true_images: Ints


@dataclass(frozen=True, slots=True)
class Ranking:
    """The predictions of every class that has true objects, ready to be weighted."""

    classes: tuple[_RankedClass, ...]

    def average_precision(self, weights: Floats) -> Floats:
        """Return AP at each of the ten thresholds, mean over the classes; NaN without truth.

        Args:
            weights: How often each image counts.
        """
        found = [
            precision.mean(axis=1)
            for ranked in self.classes
            if (precision := _precision(ranked, weights)) is not None
        ]
        return np.mean(found, axis=0) if found else np.full(STEPS, np.nan)


def rank(matches: Matches, image_order: Ints | None = None) -> Ranking:
    """Return the ranking of a file's predictions.

    Args:
        matches: Of the file.
        image_order: Of each image, when its turn comes among equal scores; None is the file's
            order.
    """
    truth, predicted = matches.instances.truth, matches.instances.predicted
    turn = predicted.image if image_order is None else image_order[predicted.image]
    order = np.lexsort((turn, -predicted.score, predicted.category))
    order = order[_counts(order, matches)]
    category = predicted.category[order]
    classes = []
    for number in range(1, matches.instances.categories.bucket_id):
        true = truth.image[(truth.category == number) & truth.counted]
        if not len(true):
            continue
        chosen = order[slice(*np.searchsorted(category, (number, number + 1)))]
        correct = matches.correct[:, chosen]
        wrong = matches.judged[:, chosen] & ~correct
        classes.append(_RankedClass(predicted.image[chosen], correct, wrong, true))
    return Ranking(tuple(classes))


def _counts(order: Ints, matches: Matches) -> Bools:
    """Return whether each prediction in order is among those of its image and class that count."""
    predicted = matches.instances.predicted
    cell = predicted.image[order] * (matches.instances.categories.bucket_id + 1)
    cell += predicted.category[order]
    grouped = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[grouped], cell[grouped], side="left")
    place = np.empty(len(order), dtype=np.int64)
    place[grouped] = np.arange(len(order)) - starts
    return place < most_detections(matches.instances)


def _precision(ranked: _RankedClass, weights: Floats) -> Floats | None:
    """Return `[threshold, recall]` interpolated precision, None without a true object."""
    true = weights[ranked.true_images].sum()
    if not true:
        return None
    own = weights[ranked.image]
    correct = np.cumsum(ranked.correct * own, axis=1)
    wrong = np.cumsum(ranked.wrong * own, axis=1)
    judged = correct + wrong
    precision = np.divide(correct, judged, out=np.zeros_like(judged), where=judged > 0)
    # The best precision at this recall or beyond; nothing beyond the last.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((STEPS, 1))], axis=1)
    recall = correct / true
    return np.stack(
        [
            envelope[step, np.searchsorted(recall[step], RECALLS, side="left")]
            for step in range(STEPS)
        ]
    )
