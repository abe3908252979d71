"""Which boxes of an image overlap, and how much, for all images at once.

IoU is computed as COCO's tools do it, from corner, width and height, so that a box that just
reaches a threshold reaches it everywhere. Over a crowd it is the covered share of the prediction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.instances import Bools, Floats, Ints, Objects

_PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pairs of boxes of one image that share some area.

    Args:
        first: Index of the one.
        second: Index of the other.
        iou: Intersection over union; where the first is a crowd, over the area of the second.
    """

    first: Ints
    second: Ints
    iou: Floats

    def chosen(self, keep: Bools) -> "Overlaps":
        """Return those that a mask keeps."""
        return Overlaps(self.first[keep], self.second[keep], self.iou[keep])


def find_overlaps(first: Objects, second: Objects, images: int) -> Overlaps:
    """Return every pair of boxes of one image that share some area.

    Args:
        first: The truth, as a rule; its crowds are treated as such.
        second: The predictions, as a rule.
        images: Number of images.
    """
    parts = [
        _overlaps(first, second, *pairs)
        for pairs in _pairs(
            np.bincount(first.image, minlength=images), np.bincount(second.image, minlength=images)
        )
    ]
    return Overlaps(
        np.concatenate([part.first for part in parts] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([part.second for part in parts] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([part.iou for part in parts] or [np.zeros(0)]),
    )


def _pairs(first: Ints, second: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield the index pairs of images in a row; both kinds of objects stand in image order."""
    starts = np.cumsum(first) - first, np.cumsum(second) - second
    parts = np.cumsum(first * second) // _PAIRS_AT_ONCE
    for part in np.unique(parts):
        images = np.flatnonzero((parts == part) & (first * second > 0))
        # Each first object of an image meets all of its second objects.
        one = _ranges(starts[0][images], first[images])
        width = np.repeat(second[images], first[images])
        yield (
            np.repeat(one, width),
            _ranges(np.repeat(starts[1][images], first[images]), width),
        )


def _ranges(start: Ints, count: Ints) -> Ints:
    """Return `start, start + 1, ...` for each start, `count` numbers long, one after another."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Ints = np.arange(total) + np.repeat(start - (ends - count), count)
    return numbers


def _overlaps(first: Objects, second: Objects, one: Ints, other: Ints) -> Overlaps:
    a, b = _corner_and_size(first.boxes), _corner_and_size(second.boxes)
    ax, ay, aw, ah = a[:, one]
    bx, by, bw, bh = b[:, other]
    width = np.minimum(aw + ax, bw + bx) - np.maximum(ax, bx)
    height = np.minimum(ah + ay, bh + by) - np.maximum(ay, by)
    near = (width > 0) & (height > 0)
    shared = width[near] * height[near]
    own, others = (bw * bh)[near], (aw * ah)[near]
    union = np.where(first.crowd[one][near], own, own + others - shared)
    return Overlaps(one[near], other[near], shared / union)


def _corner_and_size(boxes: Floats) -> Floats:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).T
