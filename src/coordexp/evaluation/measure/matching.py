"""Which prediction finds which true object, at each of COCO's ten IoU thresholds.

Within an image and a class, predictions take turns in order of their score (ties: in the order of
the answer); each takes the free true box that it overlaps most, where their IoU reaches the
threshold. One that finds none but lies on a crowd of its class, or is the first to find an ignored
object, is not judged. These are COCO's rules. Nor is judged, where an image was not searched for
everything, what LVIS does not judge: a class that was not searched for, and what finds none of a
class whose objects are not all marked. Everything that needs matches works on this table: F1,
intervals, calibration, mistakes.
"""

from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.greedy import IOU_THRESHOLDS, STEPS, Rivalry, Taking
from coordexp.evaluation.measure.instances import Bools, Floats, Instances, Ints
from coordexp.evaluation.measure.nearest import Nearest
from coordexp.evaluation.measure.overlap import overlap_tiles

__all__ = [
    "IOU_THRESHOLDS",
    "STEPS",
    "MatchCounts",
    "Matches",
    "match",
    "tally_classes",
    "tally_images",
]

Counts = Ints | Floats


@dataclass(frozen=True, slots=True)
class Matches:
    """What was found.

    Args:
        instances: Truth and predictions.
        truth_of: `[threshold, prediction]`: the true object it found, -1 for none.
        judged: `[threshold, prediction]`: false where it is neither right nor wrong.
        nearest: Of each true object and prediction, what is nearest to it.
    """

    instances: Instances
    truth_of: Ints
    judged: Bools
    nearest: Nearest

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
class MatchCounts:
    """Counts in groups, such as images or classes; fractions where images are weighted.

    Args:
        true: `[group]`: true objects, without crowds and ignored ones.
        found: `[threshold, group]`: those that were found.
        predicted: `[threshold, group]`: predictions that are judged.
    """

    true: Counts
    found: Counts
    predicted: Counts

    def total(self) -> "MatchCounts":
        """Return all groups as one."""
        return MatchCounts(
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
    taking = Taking(len(predicted), passed=~truth.counted, crowd=truth.crowd)
    nearest = Nearest.of_nothing(truth, predicted)
    for pairs in overlap_tiles(truth, predicted, len(instances.sizes)):
        own = truth.category[pairs.first] == predicted.category[pairs.second]
        taking.take(Rivalry.of(pairs.chosen(own)))
        nearest.look(pairs, own)
    found = taking.truth_of >= 0
    judged = found | (predicted.searched & predicted.exhaustive & ~taking.excused)
    return Matches(instances, taking.truth_of, judged, nearest)


def tally_images(matches: Matches) -> MatchCounts:
    """Return the counts of each image."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    return _tally(matches, truth.image, predicted.image, len(matches.instances.sizes))


def tally_classes(matches: Matches) -> MatchCounts:
    """Return the counts of each category id; the group of id 0 is empty."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    bucket = matches.instances.categories.bucket_id
    return _tally(matches, truth.category, predicted.category, bucket + 1)


def _tally(matches: Matches, truth_group: Ints, predicted_group: Ints, groups: int) -> MatchCounts:
    def count(keep: Bools) -> Ints:
        return np.stack([np.bincount(predicted_group[row], minlength=groups) for row in keep])

    counted = matches.instances.truth.counted
    return MatchCounts(
        true=np.bincount(truth_group[counted], minlength=groups),
        found=count(matches.correct),
        predicted=count(matches.judged),
    )
