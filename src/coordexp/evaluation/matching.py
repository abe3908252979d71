"""F1 at fixed IoU, and how close the best box comes: figures that need no scores.

Within an image and a class, predictions take turns in order of their score (ties: in the order of
the answer); each takes the free true box that it overlaps most, where their IoU reaches the
threshold.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coordexp.evaluation.instances import Instance, Instances

# COCO's ten, rounded so that 0.55 is the float that a reader types.
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Match:
    """What was found in one image, of one class or of all.

    Args:
        true: Number of true objects.
        predicted: Number of predictions.
        found: How many true objects were found at each of `IOU_THRESHOLDS`.
        best_iou: Of each true object, the IoU of the nearest prediction of its class; 0 where there
            is none.
        best_iou_any_class: The same among predictions of all classes.
    """

    true: int
    predicted: int
    found: tuple[int, ...]
    best_iou: tuple[float, ...]
    best_iou_any_class: tuple[float, ...]

    def f1(self, step: int = 0) -> float | None:
        """Return F1 at a threshold, 2·TP / (true + predicted); None where both are empty."""
        total = self.true + self.predicted
        return 2 * self.found[step] / total if total else None


def box_iou(a: Floats, b: Floats) -> Floats:
    """Return the IoU of each box of `a` with each of `b`; 0 where neither has an area.

    Example:
        >>> box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 1], [5, 5, 6, 6]]))
        array([[0.5, 0. ]])
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    union = np.prod(a[:, 2:] - a[:, :2], axis=1)[:, None]
    union = union + np.prod(b[:, 2:] - b[:, :2], axis=1)[None, :] - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def match_images(instances: Instances) -> tuple[Match, ...]:
    """Return what was found in each image, in the file's order."""
    truth, predicted = _by_image(instances.truth), _by_image(instances.predicted)
    return tuple(
        match_image(truth[image], predicted[image]) for image in range(len(instances.sizes))
    )


def match_class(instances: Instances, category: int) -> Match:
    """Return what was found of one class in all images."""
    truth = _by_image([item for item in instances.truth if item.category == category])
    predicted = _by_image([item for item in instances.predicted if item.category == category])
    return add_matches([match_image(truth[k], predicted[k]) for k in sorted({*truth, *predicted})])


def add_matches(matches: Sequence[Match]) -> Match:
    """Return several matches as one."""
    return Match(
        true=sum(match.true for match in matches),
        predicted=sum(match.predicted for match in matches),
        found=tuple(
            sum(match.found[step] for match in matches) for step in range(len(IOU_THRESHOLDS))
        ),
        best_iou=tuple(iou for match in matches for iou in match.best_iou),
        best_iou_any_class=tuple(iou for match in matches for iou in match.best_iou_any_class),
    )


def match_image(truth: Sequence[Instance], predicted: Sequence[Instance]) -> Match:
    """Return what was found in one image."""
    ranked = sorted(predicted, key=lambda item: -item.score)
    iou = box_iou(_boxes(truth), _boxes(ranked))
    same_class = np.array([[t.category == p.category for p in ranked] for t in truth], dtype=bool)
    own = np.where(same_class.reshape(iou.shape), iou, 0.0)
    return Match(
        true=len(truth),
        predicted=len(predicted),
        found=tuple(_count_found(own, threshold) for threshold in IOU_THRESHOLDS),
        best_iou=_best(own),
        best_iou_any_class=_best(iou),
    )


def _count_found(iou: Floats, threshold: float) -> int:
    """Return how many rows (truth) the columns (predictions, best first) take."""
    free = iou.copy()
    found = 0
    for column in free.T if len(free) else ():
        row = int(column.argmax())
        if column[row] >= threshold:
            found += 1
            free[row] = 0.0
    return found


def _best(iou: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in iou.max(axis=1, initial=0.0))


def _boxes(items: Sequence[Instance]) -> Floats:
    return np.array([item.box for item in items], dtype=np.float64).reshape(-1, 4)


def _by_image(items: Sequence[Instance]) -> defaultdict[int, list[Instance]]:
    rows: defaultdict[int, list[Instance]] = defaultdict(list)
    for item in items:
        rows[item.image].append(item)
    return rows
