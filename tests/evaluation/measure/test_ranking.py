import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp.evaluation.measure.average_precision import coco_figures
from coordexp.evaluation.measure.instances import Instances
from coordexp.evaluation.measure.matching import match
from coordexp.evaluation.measure.ranking import rank
from tests.evaluation.conftest import make_instances, make_random_rows, make_row

BOX = (10, 10, 50, 50)


def ranked(found: Instances, weights: list[int] | None = None) -> float:
    images = np.array(weights or [1] * len(found.sizes), dtype=float)
    return float(rank(match(found)).average_precision(images).mean())


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    tied=st.booleans(),
    crowds=st.booleans(),
    federated=st.booleans(),
)
def test_average_precision_is_that_of_coco(
    seed: int, tied: bool, crowds: bool, federated: bool
) -> None:
    rows = make_random_rows(seed, tied=tied, crowds=crowds, federated=federated)
    found = make_instances(rows)
    expected = coco_figures(found, "bbox").overall.AP
    assert ranked(found) == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), weights=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_weight_does_what_copies_do(seed: int, weights: list[int]) -> None:
    rows = make_random_rows(seed, images=5)
    copies = [copy.deepcopy(row) for row, n in zip(rows, weights, strict=True) for _ in range(n)]
    if any(row["gt"] for row in copies):
        expected = coco_figures(make_instances(copies), "bbox").overall.AP
        # A class that no drawn image holds is no class, in either.
        assert ranked(make_instances(rows), weights) == pytest.approx(expected)


def test_predictions_beyond_cocos_hundred_do_not_count() -> None:
    wrong = [("cat", (100, 0, 150, 50), 0.9 - k / 1000) for k in range(100)]
    found = make_instances([make_row([("cat", BOX)], [*wrong, ("cat", BOX, 0.1)])])
    assert ranked(found) == 0.0 == coco_figures(found, "bbox").overall.AP


def test_equal_scores_go_by_the_order_of_images() -> None:
    rows = [make_row([("cat", BOX)], [("cat", BOX, 0.5)]), make_row(pred=[("cat", BOX, 0.5)])]
    matches = match(make_instances(rows))
    for order, expected in ((None, 1.0), (np.array([1, 0]), 0.5)):
        precision = rank(matches, order).average_precision(np.ones(2))
        assert precision.tolist() == [pytest.approx(expected)] * 10
