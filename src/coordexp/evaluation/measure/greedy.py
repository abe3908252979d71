"""COCO's greedy matching, tile by tile: memory does not grow with the number of pairs.

Predictions take turns, the surest first. Each takes the free true object that it overlaps most
(of equally near ones the last), where their IoU reaches the threshold. One that finds none may lie
on an object that is passed over, such as a crowd: then it is excused. An object that is passed over
and is no crowd excuses one prediction alone.
"""

from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.overlap import Overlaps

# COCO's ten, rounded so that 0.55 is the float that a reader types.
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
STEPS = len(IOU_THRESHOLDS)
_THRESHOLDS = np.array(IOU_THRESHOLDS)
_ALL_STEPS = np.arange(STEPS)


@dataclass(frozen=True, slots=True)
class Rivalry:
    """The pairs of a tile that are near enough.

    Args:
        alone: Of predictions and true objects that have only each other, as most; they need no
            turns.
        others: In the order of turns.
    """

    alone: Overlaps
    others: Overlaps

    @classmethod
    def of(cls, pairs: Overlaps) -> "Rivalry":
        """Return the rivalry in a tile of pairs within classes, in the order of turns."""
        near = pairs.chosen(pairs.iou >= IOU_THRESHOLDS[0])
        same = near.second[1:] == near.second[:-1]
        several = np.zeros(len(near.second), dtype=np.bool_)
        several[1:] |= same
        several[:-1] |= same
        alone = ~several & (np.bincount(near.first)[near.first] == 1)
        return cls(near.chosen(alone), near.chosen(~alone))


class Taking:
    """Who took what so far.

    Args:
        predictions: Their number.
        passed: Whether each true object is passed over.
        crowd: Whether each is a crowd, which is never used up.
    """

    def __init__(self, predictions: int, *, passed: Bools, crowd: Bools) -> None:
        self.truth_of: Ints = np.full((STEPS, predictions), -1, dtype=np.int64)
        self.excused: Bools = np.zeros((STEPS, predictions), dtype=np.bool_)
        self._excuse: Ints = np.full((STEPS, predictions), -1, dtype=np.int64)
        self._taken: Bools = np.zeros((STEPS, len(passed)), dtype=np.bool_)
        self._gone: Bools = np.zeros(len(passed), dtype=np.bool_)  # taken at every step
        self._passed, self._crowd = passed, crowd

    def take(self, rivalry: "Rivalry") -> None:
        """Let predictions take their turns."""
        self._take_alone(rivalry.alone)
        for second, first, iou in rivalry.others.by_second():
            self._take_turn(second, first, iou)

    def _take_alone(self, pairs: Overlaps) -> None:
        passed = self._passed[pairs.first]
        for step, threshold in enumerate(IOU_THRESHOLDS):
            free = (pairs.iou >= threshold) & ~self._taken[step, pairs.first]
            found = free & ~passed
            self.truth_of[step, pairs.second[found]] = pairs.first[found]
            self.excused[step, pairs.second[free & passed]] = True
            self._taken[step, pairs.first[free]] = True
        self._taken[:, pairs.first[self._crowd[pairs.first]]] = False
        self._gone[pairs.first] = self._taken[:, pairs.first].all(axis=0)

    def _take_turn(self, second: int, first: Ints, iou: Floats) -> None:
        left = ~self._gone[first]
        first, iou = first[left], iou[left]
        passed = self._passed[first]
        if not passed.any():
            self._serve(second, first, iou, _ALL_STEPS, self.truth_of)
            return
        self._serve(second, first[~passed], iou[~passed], _ALL_STEPS, self.truth_of)
        unserved = np.flatnonzero(self.truth_of[:, second] < 0)
        self._serve(second, first[passed], iou[passed], unserved, self._excuse)
        self.excused[:, second] = self._excuse[:, second] >= 0

    def _serve(self, second: int, first: Ints, iou: Floats, steps: Ints, served: Ints) -> None:
        """Give a prediction what is nearest to it and free, at each step."""
        if not len(first):
            return
        best = _last_argmax(iou)
        steps = steps[: np.searchsorted(steps, np.searchsorted(_THRESHOLDS, iou[best], "right"))]
        taken = self._taken[steps, first[best]]
        self._hand_over(second, first[best], steps[~taken], served)
        for step in steps[taken].tolist():
            free = (iou >= IOU_THRESHOLDS[step]) & ~self._taken[step, first]
            if free.any():
                chosen = first[_last_argmax(np.where(free, iou, -1.0))]
                self._hand_over(second, chosen, np.array([step]), served)

    def _hand_over(self, second: int, first: int, steps: Ints, served: Ints) -> None:
        served[steps, second] = first
        if not self._crowd[first]:
            self._taken[steps, first] = True
            self._gone[first] = self._taken[:, first].all()


def _last_argmax(values: Floats) -> int:
    """Return the place of the largest value, of equal ones the last."""
    return len(values) - 1 - int(values[::-1].argmax())
