"""One arithmetic for every overlap: COCO's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

from coordexp.data.contract.box_iou import box_ious, overlapping

sides = st.floats(0, 1000, allow_nan=False).map(lambda value: round(value, 3))
boxes = st.tuples(sides, sides, sides, sides).map(
    lambda box: (min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3]))
)


@given(st.lists(boxes, min_size=1, max_size=5), st.lists(boxes, min_size=1, max_size=5), st.data())
def test_it_is_what_cocos_tools_compute(
    truth: list[tuple[float, ...]], said: list[tuple[float, ...]], data: st.DataObject
) -> None:
    crowd = data.draw(st.lists(st.booleans(), min_size=len(truth), max_size=len(truth)))
    a, b = np.array(truth), np.array(said)
    near, ious = overlapping(a, b[:, None], np.array(crowd))
    ours = np.zeros((len(b), len(a)))
    ours.ravel()[near] = ious
    corner_and_size = [np.concatenate([x[:, :2], x[:, 2:] - x[:, :2]], axis=1) for x in (b, a)]
    theirs = np.array(mask.iou(*corner_and_size, [int(one) for one in crowd]))
    has_area = (corner_and_size[0][:, 2:] > 0).all(1)  # theirs divides 0 by 0 elsewhere
    assert np.array_equal(ours[has_area], theirs.reshape(ours.shape)[has_area])


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1.0),
        ([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0.0),  # they touch
        ([3, 3, 3, 3], [3, 3, 3, 3], 1.0),
        ([3, 3, 3, 9], [3, 3, 3, 8], 0.0),
    ],
)
def test_a_pair_has_its_overlap(one: list[float], other: list[float], iou: float) -> None:
    assert box_ious(one, other).tolist() == [pytest.approx(iou)]
    assert box_ious(other, one).tolist() == [pytest.approx(iou)]


def test_nothing_overlaps_nothing() -> None:
    assert box_ious([0, 0, 1, 1], []).tolist() == []
