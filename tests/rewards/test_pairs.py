import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.contract.box_iou import box_ious
from coordexp.rewards.pairs import generalized_iou

sides = st.floats(0.5, 20)
boxes = st.tuples(st.floats(0, 50), st.floats(0, 50), sides, sides).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


def giou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    iou = box_ious(a, [b])
    return float(generalized_iou(np.array([a]), np.array([b]), iou)[0])


def in_words(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the same, term by term as the paper has it."""
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(
        0.0, min(a[3], b[3]) - max(a[1], b[1])
    )
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union - (around - union) / around


@given(boxes, boxes)
def test_it_is_the_papers(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    assert giou(a, b) == pytest.approx(in_words(a, b), abs=1e-9)
    assert giou(a, b) == pytest.approx(giou(b, a), abs=1e-9)
    assert -1 <= giou(a, b) <= box_ious(a, [b])[0] + 1e-9


def test_a_box_in_another_has_its_share() -> None:
    assert giou((0, 0, 10, 10), (2, 2, 7, 7)) == pytest.approx(0.25)


def test_shifted_by_half_is_a_third_less_nothing_around() -> None:
    # Shared 2, union 6, around 6: nothing around is empty.
    assert giou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    # Shared 1, union 7, around 9.
    assert giou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7 - 2 / 9)
