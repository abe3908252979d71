"""Which predicted object goes with which true one, whatever the threshold.

The evaluator's matching needs an overlap of a half, and lets those that were said first choose
first. A reward should tell a box that overlaps by 0.3 from one that is elsewhere, and should not
depend on the order of the answer: so the nearest pair of all is taken first, then the nearest of
what is left. An optimal assignment is worth at most twice as much, and differs where several
objects of one class lie on one another.
"""

from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.matching import Matches
from coordexp.evaluation.measure.overlap import overlap_tiles


@dataclass(frozen=True, slots=True)
class Pairs:
    """One true and one predicted object each, of one image and class; none occurs twice.

    Args:
        true: Index of the true one.
        said: Index of the predicted one.
        giou: Of their bounding boxes; above zero.
    """

    true: Ints
    said: Ints
    giou: Floats


def nearest_pairs(matches: Matches, true: Bools, said: Bools) -> Pairs:
    """Return the pairs with a GIoU above zero, the nearest first.

    Args:
        matches: Whose objects.
        true: Which true ones take part; crowds never do.
        said: Which predicted ones do.
    """
    truth, predicted = matches.instances.truth, matches.instances.predicted
    found = [
        (pairs.first[keep], pairs.second[keep], pairs.iou[keep])
        for pairs in overlap_tiles(truth, predicted, len(matches.instances.sizes))
        for keep in [
            (truth.category[pairs.first] == predicted.category[pairs.second])
            & true[pairs.first]
            & said[pairs.second]
        ]
    ]
    first, second, iou = (np.concatenate(column) for column in zip(*found, strict=True))
    giou = generalized_iou(truth.boxes[first], predicted.boxes[second], iou)
    order = np.argsort(-giou, kind="stable")
    order = order[giou[order] > 0]
    kept = _take_turns(first[order], second[order])
    return Pairs(first[order][kept], second[order][kept], giou[order][kept])


def generalized_iou(a: Floats, b: Floats, iou: Floats) -> Floats:
    r"""Return the generalized IoU of pairs of boxes, from -1 to 1; never above their IoU.

    .. math:: \mathrm{IoU} - \frac{|C| - |A \cup B|}{|C|}

    with C the smallest box around both (Rezatofighi et al., CVPR 2019). It is the IoU where one box
    lies in the other.

    Args:
        a: `x1, y1, x2, y2` a row.
        b: The same.
        iou: Of each pair.
    """
    around = _area(np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:]))
    both = _area(a[:, :2], a[:, 2:]) + _area(b[:, :2], b[:, 2:])
    union = both / (1 + iou)  # what they share is IoU times their union
    return iou - (around - union) / around


def _area(low: Floats, high: Floats) -> Floats:
    area: Floats = np.prod(high - low, axis=1)
    return area


def _take_turns(first: Ints, second: Ints) -> list[int]:
    """Return the places of pairs whose objects are free when their turn comes."""
    taken_first: set[int] = set()
    taken_second: set[int] = set()
    kept = []
    for place, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if one not in taken_first and other not in taken_second:
            taken_first.add(one)
            taken_second.add(other)
            kept.append(place)
    return kept
