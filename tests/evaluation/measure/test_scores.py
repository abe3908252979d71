import pytest

from coordexp.evaluation.measure.average_precision import coco_figures
from coordexp.evaluation.measure.scores import ranked_figures, score_health
from tests.evaluation.conftest import make_instances, make_random_rows, make_row

BOX = (10, 10, 50, 50)


def test_distinct_scores_rank() -> None:
    found = make_instances(make_random_rows(1))
    health = score_health(found.predicted)
    assert (health.constant, health.tied_fraction, health.ranks) == (False, 0.0, True)
    assert health.warning() is None
    result = ranked_figures(found, "bbox", health, seed=0)
    assert result.sd is None
    assert result.figures.overall == coco_figures(found, "bbox").overall


def test_constant_scores_give_a_mean_and_its_deviation() -> None:
    found = make_instances(make_random_rows(1, tied=True))
    health = score_health(found.predicted)
    assert (health.constant, health.tied_fraction) == (True, pytest.approx(1, abs=0.1))
    assert "All predictions have the same score" in health.warning()
    result = ranked_figures(found, "bbox", health, seed=0)
    assert result.sd.AP > 0.001
    assert (
        pytest.approx(coco_figures(found, "bbox").overall.AP, abs=0.2) == result.figures.overall.AP
    )
    again = ranked_figures(found, "bbox", health, seed=0)
    assert (result.figures.overall, result.sd) == (again.figures.overall, again.sd)


def test_ties_count_within_a_class_only() -> None:
    rows = [
        make_row(
            [("a", BOX), ("b", BOX)],
            [("a", BOX, 0.5), ("b", BOX, 0.5), ("b", BOX, 0.4), ("a", BOX, 0.5)],
        )
    ]
    health = score_health(make_instances(rows).predicted)
    assert (health.constant, health.tied_fraction) == (False, 0.5)
    assert "50% of the predictions" in health.warning()


def test_one_prediction_or_none_is_no_tie() -> None:
    assert score_health(make_instances([make_row()]).predicted).ranks
    assert score_health(make_instances([make_row([("a", BOX)], [("a", BOX, 1.0)])]).predicted).ranks


def test_figures_without_truth_stay_empty() -> None:
    found = make_instances([make_row(pred=[("a", BOX, 1.0), ("a", BOX, 1.0)])])
    result = ranked_figures(found, "bbox", score_health(found.predicted), seed=0)
    assert result.figures.overall.AP is None
    assert result.sd.AP is None
