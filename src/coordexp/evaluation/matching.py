"""Which prediction finds which true object, at each of COCO's ten IoU thresholds.

Within an image and a class, predictions take turns in order of their score (ties: in the order of
the answer); each takes the free true box that it overlaps most, where their IoU reaches the
threshold. One that finds none but lies on a crowd of its class, or is the first to find an ignored
object, is not judged. These are COCO's rules. Nor is judged, where an image was not searched for
everything, what LVIS does not judge: a class that was not searched for, and what finds none of a
class whose objects are not all marked. Everything that needs matches works on this table: F1,
intervals, calibration, mistakes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.instances import Bools, Floats, Instances, Ints, Objects
from coordexp.evaluation.overlap import Overlaps, find_overlaps

# COCO's ten, rounded so that 0.55 is the float that a reader types.
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
STEPS = len(IOU_THRESHOLDS)

Counts = Ints | Floats


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found.

    Args:
        instances: Truth and predictions.
        overlaps: Of truth and predictions, whatever their classes.
        truth_of: `[threshold, prediction]`: the true object it found, -1 for none.
        judged: `[threshold, prediction]`: false where it is neither right nor wrong.
        best_iou: Of each true object, the IoU of the nearest prediction of its class; 0 where there
            is none.
        best_iou_any_class: The same among predictions of all classes.
    """

    instances: Instances
    overlaps: Overlaps
    truth_of: Ints
    judged: Bools
    best_iou: Floats
    best_iou_any_class: Floats

    @property
    def correct(self) -> Bools:
        """`[threshold, prediction]`: whether it found a true object."""
        return self.truth_of >= 0

    def found(self, step: int = 0) -> Bools:
        """Return of each true object whether it was found at a threshold."""
        found = np.zeros(len(self.instances.truth), dtype=np.bool_)
        found[self.truth_of[step][self.correct[step]]] = True
        return found


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts in groups, such as images or classes; fractions where images are weighted.

    Args:
        true: `[group]`: true objects, without crowds and ignored ones.
        found: `[threshold, group]`: those that were found.
        predicted: `[threshold, group]`: predictions that are judged.
    """

    true: Counts
    found: Counts
    predicted: Counts

    def total(self) -> "Tally":
        """Return all groups as one."""
        return Tally(
            self.true.sum(keepdims=True),
            self.found.sum(axis=1, keepdims=True),
            self.predicted.sum(axis=1, keepdims=True),
        )

    def f1(self) -> Floats:
        """Return `[threshold, group]` F1, 2·TP / (true + predicted); NaN where both are empty."""
        return ratio(2 * self.found, self.true + self.predicted)


def ratio(part: Counts, whole: Counts) -> Floats:
    """Return quotients, NaN over zero."""
    shape = np.broadcast(part, whole).shape
    quotient: Floats = np.divide(part, whole, out=np.full(shape, np.nan), where=whole > 0)
    return quotient


def match(instances: Instances) -> Matches:
    """Return what was found."""
    truth, predicted = instances.truth, instances.predicted
    overlaps = find_overlaps(truth, predicted, len(instances.sizes))
    same = truth.category[overlaps.first] == predicted.category[overlaps.second]
    own = overlaps.chosen(same)
    truth_of, judged = _assign(truth, predicted, own)
    return Matches(
        instances=instances,
        overlaps=overlaps,
        truth_of=truth_of,
        judged=judged,
        best_iou=_best(own, len(truth)),
        best_iou_any_class=_best(overlaps, len(truth)),
    )


def tally_images(matches: Matches) -> Tally:
    """Return the counts of each image."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    return _tally(matches, truth.image, predicted.image, len(matches.instances.sizes))


def tally_classes(matches: Matches) -> Tally:
    """Return the counts of each category id; the group of id 0 is empty."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    bucket = matches.instances.categories.bucket_id
    return _tally(matches, truth.category, predicted.category, bucket + 1)


def _tally(matches: Matches, truth_group: Ints, predicted_group: Ints, groups: int) -> Tally:
    def count(keep: Bools) -> Ints:
        return np.stack([np.bincount(predicted_group[row], minlength=groups) for row in keep])

    counted = matches.instances.truth.counted
    return Tally(
        true=np.bincount(truth_group[counted], minlength=groups),
        found=count(matches.correct),
        predicted=count(matches.judged),
    )


def _best(overlaps: Overlaps, count: int) -> Floats:
    best = np.zeros(count)
    np.maximum.at(best, overlaps.first, overlaps.iou)
    return best


def _assign(truth: Objects, predicted: Objects, own: Overlaps) -> tuple[Ints, Bools]:
    """Return `truth_of` and `judged` from the overlaps within classes."""
    truth_of = np.full((STEPS, len(predicted)), -1, dtype=np.int64)
    near = own.chosen(own.iou >= IOU_THRESHOLDS[0])
    passed_over = near.chosen(~truth.counted[near.first])
    near = near.chosen(truth.counted[near.first])
    rivals = (np.bincount(near.first, minlength=len(truth))[near.first] > 1) | (
        np.bincount(near.second, minlength=len(predicted))[near.second] > 1
    )
    alone = near.chosen(~rivals)
    for step, threshold in enumerate(IOU_THRESHOLDS):
        keep = alone.iou >= threshold
        truth_of[step, alone.second[keep]] = alone.first[keep]
    for steps, second, first in _contested(near.chosen(rivals), predicted):
        truth_of[steps, second] = first
    judged = np.broadcast_to(predicted.searched & predicted.exhaustive, truth_of.shape).copy()
    for step, found in enumerate(truth_of >= 0):
        left = passed_over.chosen(~found[passed_over.second])
        judged[step, _excused(left, truth, predicted, IOU_THRESHOLDS[step])] = False
        judged[step, found] = True
    return truth_of, judged


def _excused(near: Overlaps, truth: Objects, predicted: Objects, threshold: float) -> list[int]:
    """Return the predictions that lie on a crowd or an ignored object; that one excuses only one.

    Args:
        near: Pairs of crowds and ignored objects with predictions that found nothing.
        truth: The true objects.
        predicted: The predictions.
        threshold: The least IoU.
    """
    near = near.chosen(near.iou >= threshold)
    order = _turns(near, predicted)
    pairs = zip(near.first[order].tolist(), near.second[order].tolist(), strict=True)
    taken: set[int] = set()
    excused: dict[int, None] = {}
    for first, second in pairs:
        if first not in taken and second not in excused:
            excused[second] = None
            if not truth.crowd[first]:
                taken.add(first)
    return list(excused)


def _turns(near: Overlaps, predicted: Objects) -> Ints:
    """Return the order in which pairs are looked at.

    The surest prediction first, of its true boxes the nearest, of equally near ones the last.
    """
    order: Ints = np.lexsort((-near.first, -near.iou, near.second, -predicted.score[near.second]))
    return order


def _contested(near: Overlaps, predicted: Objects) -> Iterator[tuple[int, int, int]]:
    """Yield step, prediction and true object where several want one, or one could have several."""
    order = _turns(near, predicted).tolist()
    first, second, iou = near.first.tolist(), near.second.tolist(), near.iou.tolist()
    for step, threshold in enumerate(IOU_THRESHOLDS):
        taken: set[int] = set()
        served: set[int] = set()
        for k in order:
            if iou[k] < threshold or second[k] in served or first[k] in taken:
                continue
            taken.add(first[k])
            served.add(second[k])
            yield step, second[k], first[k]
