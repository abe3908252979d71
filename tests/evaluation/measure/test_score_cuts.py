import json

import numpy as np
import pytest

from coordexp.evaluation.measure.matching import match, tally_images
from coordexp.evaluation.measure.score_cuts import ScoreCuts, score_cuts
from tests.evaluation.conftest import Row, make_instances, make_random_rows, make_row

A, B, C = (10, 10, 50, 50), (60, 60, 100, 100), (110, 20, 150, 60)


def cuts_of(rows: list[Row], *, resamples: int = 40) -> ScoreCuts:
    names = [row["image"] for row in rows]
    return score_cuts(match(make_instances(rows)), names, seed=0, resamples=resamples)


def scene(*pred: tuple[str, tuple[int, ...], float], image: str = "1.png") -> Row:
    return make_row([("cat", A), ("dog", B)], pred, image=image)


def test_figures_at_a_score_are_those_of_what_has_at_least_that_score() -> None:
    # 0.9 right, 0.6 wrong, 0.5 right: P 1, 1/2, 2/3; R 1/2, 1/2, 1; F1 2/3, 1/2, 4/5.
    curve = cuts_of([scene(("cat", A, 0.9), ("dog", C, 0.6), ("dog", B, 0.5))]).curve
    assert curve.score.tolist() == [0.9, 0.6, 0.5]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert curve.recall.tolist() == [0.5, 0.5, 1.0]
    assert curve.f1.tolist() == pytest.approx([2 / 3, 1 / 2, 4 / 5])


@pytest.mark.parametrize("kind", [{}, {"tied": True}, {"crowds": True}, {"federated": True}])
def test_a_cut_is_what_an_evaluation_of_the_rest_gives(kind: dict[str, bool]) -> None:
    rows = make_random_rows(5, images=12, **kind)
    instances = make_instances(rows)
    curve = cuts_of(rows).curve
    assert len(curve.score)
    for score, f1 in zip(curve.score, curve.f1, strict=True):
        rest = instances.without_predictions(instances.predicted.score < score)
        assert f1 == pytest.approx(tally_images(match(rest)).total().f1()[0, 0])


def test_equal_scores_fall_together() -> None:
    curve = cuts_of([scene(("cat", A, 0.5), ("dog", C, 0.5))]).curve
    assert (curve.score.tolist(), curve.precision.tolist()) == ([0.5], [0.5])


def test_the_best_score_is_the_highest_of_the_best_f1() -> None:
    # 2/3 alone, 1/2 with the wrong one, 2/3 again with one more right and two wrong: 4 / 6.
    row = scene(("cat", A, 0.9), ("dog", C, 0.8), ("dog", B, 0.3), ("cat", C, 0.3))
    best = cuts_of([row]).best
    assert best is not None
    assert (best.score, best.F1, best.precision, best.recall) == (0.9, pytest.approx(2 / 3), 1, 0.5)


def test_each_class_has_a_curve_of_its_own() -> None:
    cuts = cuts_of([scene(("cat", A, 0.9), ("dog", C, 0.6), ("dog", B, 0.5))])
    cat, dog = cuts.classes
    assert (cat.score.tolist(), cat.f1.tolist()) == ([0.9], [1.0])
    assert (dog.score.tolist(), dog.f1.tolist()) == ([0.6, 0.5], [0.0, pytest.approx(2 / 3)])


def test_what_is_no_class_counts_in_all_and_in_none() -> None:
    cuts = cuts_of([scene(("cat", A, 0.9), ("yak", C, 0.6))])
    assert cuts.curve.precision.tolist() == [1.0, 0.5]
    assert [curve.score.tolist() for curve in cuts.classes] == [[0.9], []]


def test_the_interval_holds_the_best_score_and_is_that_score_where_images_are_equal() -> None:
    equal = cuts_of([scene(("cat", A, 0.9), ("dog", C, 0.2), image=f"{k}.png") for k in range(9)])
    assert equal.interval == (0.9, 0.9)
    cuts = cuts_of(make_random_rows(3, images=40))
    assert cuts.best is not None
    assert cuts.interval is not None
    low, high = cuts.interval
    assert low <= cuts.best.score <= high


def test_on_unseen_halves_f1_is_no_better_than_the_best() -> None:
    for seed in range(8):
        rows = make_random_rows(seed, images=20)
        rows = [{**row, "image": f"{seed}-{place}.png"} for place, row in enumerate(rows)]
        cuts = cuts_of(rows, resamples=2)
        assert cuts.best is not None
        assert cuts.unseen is not None
        assert cuts.unseen <= cuts.best.F1 + 1e-12


@pytest.mark.parametrize(
    "rows",
    [
        [make_row()],
        [make_row([("cat", A)])],
        [make_row([], [("cat", A, 0.5)])],
        [make_row([("cat", A)], [("cat", C, 0.5)])],
    ],
    ids=["nothing", "nothing said", "nothing true", "nothing found"],
)
def test_where_nothing_is_found_no_score_is_best(rows: list[Row]) -> None:
    cuts = cuts_of(rows)
    assert (cuts.best, cuts.interval, cuts.unseen) == (None, None, None)
    names = make_instances(rows).categories.names
    assert json.loads(json.dumps(cuts.to_json(names), allow_nan=False))["best_f1"] is None


def test_a_long_curve_is_told_at_a_hundred_scores_with_both_its_ends() -> None:
    pred = [("cat", A, 1 - k / 1000) for k in range(500)]
    curve = cuts_of([make_row([("cat", A)], pred)]).curve
    rows = cuts_of([make_row([("cat", A)], pred)]).to_json(["cat"])["curve"]
    assert (len(curve.score), len(rows)) == (500, 101)
    assert (rows[0]["score"], rows[-1]["score"]) == (1.0, pytest.approx(0.501))
    assert np.all(np.diff([row["score"] for row in rows]) < 0)
