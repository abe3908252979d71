import numpy as np
import pytest

from coordexp.evaluation.measure.bootstrap import (
    FIGURES,
    Resampled,
    comparison_to_json,
    draws,
    interval,
    intervals_to_json,
    resample,
)
from coordexp.evaluation.measure.figures import evaluate_instances
from coordexp.evaluation.measure.predictions import parse_prediction
from coordexp.evaluation.measure.scores import score_health
from tests.evaluation.conftest import Row, make_instances, make_matches, make_random_rows, make_row

BOX = (10, 10, 50, 50)


def resampled(rows: list[Row]) -> Resampled:
    matches = make_matches(rows)
    health = score_health(matches.instances.predicted)
    return resample(matches, health, seed=0, resamples=60)


def test_a_draw_takes_as_many_images_as_there_are() -> None:
    weights = list(draws(7, seed=0, resamples=5))
    assert [float(row.sum()) for row in weights] == [7.0] * 5
    assert np.array_equal(weights, list(draws(7, seed=0, resamples=5)))


def test_figures_of_the_images_themselves_are_the_metrics() -> None:
    rows = make_random_rows(3, images=12, crowds=True)
    found = resampled(rows)
    predictions = [parse_prediction(item) for item in rows]
    metrics = evaluate_instances(predictions, make_instances(rows), seed=0).metrics()
    flat = {**metrics["bbox"], **metrics["f1"]}
    assert dict(found.actual) == {name: pytest.approx(flat[name]) for name in FIGURES}


def test_intervals_hold_the_figure_and_shrink_with_more_images() -> None:
    few, many = (resampled(make_random_rows(3, images=n)) for n in (10, 90))
    widths = []
    for found in (few, many):
        low, high = intervals_to_json(found)["F1@0.5"]
        assert low < found.actual["F1@0.5"] < high
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_equal_images_have_no_spread() -> None:
    found = resampled([make_row([("cat", BOX)], [("cat", BOX, 0.5 + k / 99)]) for k in range(9)])
    assert intervals_to_json(found)["AP"] == (pytest.approx(1.0), pytest.approx(1.0))


def test_what_cannot_be_measured_has_no_interval() -> None:
    assert interval(np.array([0.5, np.nan])) is None
    assert intervals_to_json(resampled([make_row()]))["AP"] is None


def test_a_file_beside_itself_differs_by_nothing_and_a_better_one_surely() -> None:
    rows = make_random_rows(3, images=30)
    worse = resampled(rows)
    for row in rows:
        row["pred"] = [{**thing, "score": 0.5 + k / 99} for k, thing in enumerate(row["gt"])]
    better = resampled(rows)
    same, gain = comparison_to_json(worse, worse)["AP"], comparison_to_json(better, worse)["AP"]
    assert (same["difference"], same["interval"], same["worse_share"]) == (0.0, (0.0, 0.0), 1.0)
    assert gain["interval"][0] > 0
    assert gain["worse_share"] == 0.0
    assert gain["difference"] == pytest.approx(gain["this"] - gain["other"])


def test_tied_scores_draw_an_image_order_too() -> None:
    # Each half of the images is alike, so without ties the draws would only count halves.
    rows = [
        *[make_row([("cat", BOX)], [("cat", BOX, 0.5)])] * 6,
        *[make_row(pred=[("cat", BOX, 0.5)])] * 6,
    ]
    assert len(set(resampled(rows).drawn["AP"].tolist())) > 20
