"""The order in which a record's objects are written into the answer."""

import random
from typing import Literal

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.record import Record, RecordObject

ObjectOrdering = Literal["sorted", "random", "record"]


def ordered_objects(
    record: Record,
    ordering: ObjectOrdering,
    *,
    seed: int,
    epoch: int,
    index: int,
    alphabet: CoordAlphabet,
) -> tuple[RecordObject, ...]:
    """Return the objects that are taught, in the order of the answer.

    Sorting compares bins, as the answer shows nothing finer, and keeps the order of objects whose
    corners share both bins. So a record sorts alike before and after it was tokenised.

    Args:
        record: Whose objects.
        ordering: `sorted` is top to bottom, then left to right, by the top-left corner of the
            bounding box; `random` is another order for each sample and epoch, the same again from
            the same seed; `record` is that of the record.
        seed: Of the run.
        epoch: Which pass over the data.
        index: Which record.
        alphabet: Of the answer.
    """
    if ordering == "sorted":
        return tuple(sorted(record.taught, key=lambda item: _top_left(record, item, alphabet)))
    if ordering == "record":
        return record.taught
    shuffled = list(record.taught)
    # A string seed is hashed by its bytes: (1, 23) and (12, 3) differ, and every process agrees.
    random.Random(f"{seed}/{epoch}/{index}").shuffle(shuffled)
    return tuple(shuffled)


def _top_left(record: Record, item: RecordObject, alphabet: CoordAlphabet) -> tuple[float, float]:
    bins = item.geometry.to_bins(record.width, record.height, alphabet)
    x1_bin, y1_bin, _, _ = bounding_box(bins)
    return y1_bin, x1_bin
