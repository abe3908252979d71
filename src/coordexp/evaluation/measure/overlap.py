"""Which boxes of an image overlap, and how much, for all images, a tile at a time.

The arithmetic is `coordexp.data.contract.box_iou`'s.

Twenty thousand boxes may all lie on twenty thousand others: four hundred million pairs, ten
gigabytes. So pairs come in tiles that are used and forgotten. A tile holds every pair of some
second objects, and those of an image come in the order of their scores, the surest first: whoever
matches greedily can go from tile to tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coordexp.data.contract.box_iou import overlapping
from coordexp.evaluation.measure.instances import Bools, Floats, Ints, Objects

_PAIRS_AT_ONCE = 500_000


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pairs of boxes of one image that share some area.

    Args:
        first: Index of the one.
        second: Index of the other; its pairs stand together.
        iou: Intersection over union; where the first is a crowd, over the area of the second.
    """

    first: Ints
    second: Ints
    iou: Floats

    def chosen(self, keep: Bools) -> "Overlaps":
        """Return those that a mask keeps."""
        if keep.all():  # a copy of millions would take longer than the look
            return self
        return Overlaps(self.first[keep], self.second[keep], self.iou[keep])

    def by_second(self) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield each second object with its first ones and their IoU."""
        if not len(self.second):
            return
        starts = np.insert(np.flatnonzero(self.second[1:] != self.second[:-1]) + 1, 0, 0)
        ends = np.append(starts, len(self.second))[1:]
        seconds = self.second[starts].tolist()
        for second, start, end in zip(seconds, starts.tolist(), ends.tolist(), strict=True):
            yield second, self.first[start:end], self.iou[start:end]


def overlap_tiles(first: Objects, second: Objects, images: int) -> Iterator[Overlaps]:
    """Yield every pair of boxes of one image that share some area.

    Args:
        first: The truth, as a rule, in the order of the images; its crowds are treated as such.
        second: The predictions, as a rule.
        images: Number of images.
    """
    count = np.bincount(first.image, minlength=images)
    start = np.cumsum(count) - count
    turn = turns(second)
    partners = count[second.image[turn]]
    tile = np.cumsum(partners) // _PAIRS_AT_ONCE
    for some in np.split(turn, np.flatnonzero(np.diff(tile)) + 1):
        image = second.image[some]
        if len(some) and (image == image[0]).all():
            yield _block(
                first, second, range(start[image[0]], start[image[0]] + count[image[0]]), some
            )
        else:
            one = _ranges(start[image], count[image])
            yield pair_overlaps(first, second, one, np.repeat(some, count[image]))


def turns(predicted: Objects) -> Ints:
    """Return predictions image by image, the surest first, equally sure ones as they were said."""
    order: Ints = np.lexsort((-predicted.score, predicted.image))
    return order


def pair_overlaps(first: Objects, second: Objects, one: Ints, other: Ints) -> Overlaps:
    """Return those of the given pairs that share some area.

    Args:
        first: Of the pairs.
        second: Of the pairs.
        one: Index into `first`, of each pair.
        other: Index into `second`.
    """
    near, iou = overlapping(first.boxes[one], second.boxes[other], first.crowd[one])
    return Overlaps(one[near], other[near], iou)


def _block(first: Objects, second: Objects, partners: range, some: Ints) -> Overlaps:
    """Return the pairs of some second objects of one image with its first ones."""
    own = slice(partners.start, partners.stop)
    near, iou = overlapping(first.boxes[own], second.boxes[some][:, None], first.crowd[own])
    other, one = np.divmod(near, max(len(partners), 1))
    return Overlaps(one + partners.start, some[other], iou)


def _ranges(start: Ints, count: Ints) -> Ints:
    """Return `start, start + 1, ...` for each start, `count` numbers long, one after another."""
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Ints = np.arange(total) + np.repeat(start - (ends - count), count)
    return numbers
