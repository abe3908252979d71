import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from coordexp.evaluation.measure import overlap
from coordexp.evaluation.measure.instances import Objects
from coordexp.evaluation.measure.overlap import Overlaps, overlap_tiles
from tests.evaluation.conftest import make_instances, make_random_rows, make_row


def all_overlaps(first: Objects, second: Objects, images: int) -> Overlaps:
    tiles = list(overlap_tiles(first, second, images))
    return Overlaps(
        np.concatenate([tile.first for tile in tiles]),
        np.concatenate([tile.second for tile in tiles]),
        np.concatenate([tile.iou for tile in tiles]),
    )


def widths(items: Objects) -> list[list[float]]:
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in items.boxes.tolist()]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_overlaps_are_bit_for_bit_those_of_pycocotools(seed: int) -> None:
    found = make_instances(make_random_rows(seed, crowds=True))
    pairs = all_overlaps(found.truth, found.predicted, len(found.sizes))
    ours = np.zeros((len(found.predicted), len(found.truth)))
    ours[pairs.second, pairs.first] = pairs.iou
    if ours.size:
        crowd = found.truth.crowd.astype(np.uint8)
        theirs = mask.iou(widths(found.predicted), widths(found.truth), crowd)
        same = found.predicted.image[:, None] == found.truth.image[None, :]
        assert (ours == np.where(same, theirs, 0)).all()


def test_few_pairs_at_once_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = make_instances(make_random_rows(7, images=9))
    whole = all_overlaps(found.truth, found.predicted, 9)
    monkeypatch.setattr(overlap, "_PAIRS_AT_ONCE", 5)
    parts = all_overlaps(found.truth, found.predicted, 9)
    assert whole.first.tolist() == parts.first.tolist()
    assert whole.second.tolist() == parts.second.tolist()
    assert whole.iou.tolist() == parts.iou.tolist()


def test_by_hand() -> None:
    rows = [make_row([("a", (0, 0, 2, 2))], [("a", (0, 0, 2, 1), 1.0), ("a", (5, 5, 6, 6), 0.5)])]
    found = make_instances(rows)
    pairs = all_overlaps(found.truth, found.predicted, 1)
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.iou.tolist()) == ([0], [0], [0.5])


def test_boxes_without_area_and_images_without_objects_overlap_nothing() -> None:
    found = make_instances(
        [make_row(), make_row([("a", (0, 0, 9, 9))], [("a", (5, 5, 5, 9), 1.0)])]
    )
    assert not len(all_overlaps(found.truth, found.predicted, 2).iou)
