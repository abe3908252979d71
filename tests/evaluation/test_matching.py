import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp.data.geometry import Box
from coordexp.evaluation.matching import (
    IOU_THRESHOLDS,
    add_matches,
    box_iou,
    match_class,
    match_images,
)
from tests.evaluation.conftest import make_instances, make_random_rows, make_row

BOX = (10, 10, 50, 50)
NEAR = (10, 10, 50, 40)  # IoU 3/4 with BOX


def slow_iou(a: Box, b: Box) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0.0


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_iou_equals_the_slow_reference_and_lies_between_zero_and_one(seed: int) -> None:
    found = make_instances(make_random_rows(seed, images=2))
    a, b = [item.box for item in found.truth], [item.box for item in found.predicted]
    iou = box_iou(np.array(a).reshape(-1, 4), np.array(b).reshape(-1, 4))
    assert iou.tolist() == [[pytest.approx(slow_iou(p, q)) for q in b] for p in a]
    assert ((iou >= 0) & (iou <= 1 + 1e-12)).all()


def test_boxes_without_area_overlap_nothing() -> None:
    point = np.array([[5.0, 5, 5, 5]])
    assert box_iou(point, point).tolist() == [[0.0]]


def test_thresholds_are_cocos() -> None:
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_found_falls_with_the_threshold() -> None:
    (match,) = match_images(make_instances([make_row([("cat", BOX)], [("cat", NEAR, 0.5)])]))
    assert match.found == (1, 1, 1, 1, 1, 1, 0, 0, 0, 0)
    assert (match.f1(0), match.f1(-1)) == (1.0, 0.0)
    assert match.best_iou == (0.75,)


def test_the_surest_prediction_chooses_first() -> None:
    # The sure one takes the left cat, which both overlap most; the other is left without.
    left, right, middle = (0, 0, 40, 40), (100, 0, 140, 40), (0, 0, 40, 36)
    rows = [make_row([("cat", left), ("cat", right)], [("cat", middle, 0.9), ("cat", left, 0.1)])]
    (match,) = match_images(make_instances(rows))
    assert match.found[0] == 1
    assert match.f1() == 0.5


def test_a_wrong_class_finds_nothing_but_its_box_is_measured() -> None:
    rows = [make_row([("cat", BOX), ("dog", (100, 100, 120, 120))], [("dog", BOX, 0.9)])]
    (match,) = match_images(make_instances(rows))
    assert match.found == (0,) * 10
    assert match.best_iou == (0.0, 0.0)
    assert match.best_iou_any_class == (1.0, 0.0)


def test_classes_add_up_to_images() -> None:
    found = make_instances(make_random_rows(5))
    whole = add_matches(match_images(found))
    parts = add_matches([match_class(found, number) for number in range(1, 5)])
    assert (whole.true, whole.predicted, whole.found) == (parts.true, parts.predicted, parts.found)
    assert sorted(whole.best_iou) == pytest.approx(sorted(parts.best_iou))


def test_nothing_against_nothing_has_no_f1() -> None:
    assert match_images(make_instances([make_row()]))[0].f1() is None
    assert match_images(make_instances([make_row(pred=[("cat", BOX, 1.0)])]))[0].f1() == 0.0
    assert match_images(make_instances([make_row([("cat", BOX)])]))[0].best_iou == (0.0,)
