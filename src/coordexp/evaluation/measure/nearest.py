"""Of each object, how near the nearest of the others comes; gathered tile by tile."""

from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.instances import Bools, Floats, Ints, Objects
from coordexp.evaluation.measure.overlap import Overlaps

GOOD_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Nearest:
    """What is nearest to each object.

    Args:
        best_iou: Of each true object, the IoU of the nearest prediction of its class; 0 where there
            is none.
        best_iou_any_class: The same among predictions of all classes.
        own_iou: Of each prediction, the IoU of the nearest counted true object of its class.
        other_iou: The same of another class.
        other_truth: Of each prediction, which one that is, where it is as near as `GOOD_IOU`; else
            -1.
        counted: Which true objects are counted.
    """

    best_iou: Floats
    best_iou_any_class: Floats
    own_iou: Floats
    other_iou: Floats
    other_truth: Ints
    counted: Bools

    @classmethod
    def of_nothing(cls, truth: Objects, predicted: Objects) -> "Nearest":
        """Return what is known before the first look."""
        return cls(
            best_iou=np.zeros(len(truth)),
            best_iou_any_class=np.zeros(len(truth)),
            own_iou=np.zeros(len(predicted)),
            other_iou=np.zeros(len(predicted)),
            other_truth=np.full(len(predicted), -1, dtype=np.int64),
            counted=truth.counted,
        )

    def look(self, pairs: Overlaps, own: Bools) -> None:
        """Take note of a tile.

        Args:
            pairs: All pairs of some predictions.
            own: Which of them are within one class.
        """
        np.maximum.at(self.best_iou, pairs.first[own], pairs.iou[own])
        np.maximum.at(self.best_iou_any_class, pairs.first, pairs.iou)
        counted = self.counted[pairs.first]
        same, others = pairs.chosen(own & counted), pairs.chosen(~own & counted)
        np.maximum.at(self.own_iou, same.second, same.iou)
        np.maximum.at(self.other_iou, others.second, others.iou)
        good = others.chosen(others.iou >= GOOD_IOU)
        good = good.chosen(good.iou == self.other_iou[good.second])
        self.other_truth[good.second] = good.first  # of equally near ones the last is kept
