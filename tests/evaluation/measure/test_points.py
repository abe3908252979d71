import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.evaluation.measure.instances import LEFT_OUT_POINTS
from coordexp.evaluation.measure.point_figures import point_counts, point_figures
from coordexp.evaluation.measure.points import SHARES, match_points, most_pairs
from tests.evaluation.conftest import SIZE, Row, make_instances, make_row

DIAGONAL = math.hypot(*SIZE)
Point = tuple[float, float]


def make_points(true: Iterable[Point], said: Iterable[Point], *, desc: str = "cat") -> Row:
    row = make_row()
    row["gt"] = [{"desc": desc, "point_2d": list(point)} for point in true]
    row["pred"] = [{"desc": desc, "point_2d": list(point), "score": 0.5} for point in said]
    return row


def figures(*rows: Row) -> dict[str, Any]:
    found = point_figures(match_points(make_instances(rows)))
    assert found is not None
    return found


def test_a_file_without_points_has_no_figures_of_them() -> None:
    row = make_row([("cat", (1, 1, 9, 9))], [("cat", (1, 1, 9, 9), 0.5)])
    assert point_figures(match_points(make_instances([row]))) is None


def test_a_point_counts_within_its_share_of_the_diagonal() -> None:
    # 1 % of the diagonal is 2.56 pixels, 2 % are 5.12, 5 % are 12.8.
    assert pytest.approx(256.12, abs=0.01) == DIAGONAL
    row = make_points([(50, 50), (100, 100), (20, 150)], [(52, 50), (100, 105), (20, 138), (9, 9)])
    found = figures(row)["distance"]
    assert [found[f"recall@{share}"] for share in ("1%", "2%", "5%")] == [1 / 3, 2 / 3, 1]
    assert [found[f"precision@{share}"] for share in ("1%", "2%", "5%")] == [1 / 4, 2 / 4, 3 / 4]
    assert found["F1@5%"] == 2 * 3 / (3 + 4)
    assert found["mean_distance"] == pytest.approx((2 + 5 + 12) / 3 / DIAGONAL)


def test_each_true_point_is_found_once_and_by_the_nearest() -> None:
    found = figures(make_points([(50, 50)], [(54, 50), (51, 50), (50, 52)]))["distance"]
    assert (found["recall@2%"], found["precision@2%"]) == (1, 1 / 3)
    assert found["mean_distance"] == pytest.approx(1 / DIAGONAL)


def test_a_point_of_another_class_or_image_finds_nothing() -> None:
    dogs, empty = make_points([], [(50, 50)], desc="dog"), make_points([], [(50, 50)])
    cats = make_points([(50, 50)], [])
    cats["pred"] = dogs["pred"]
    found = figures(cats, empty)["distance"]
    assert (found["judged"], found["recall@5%"], found["precision@5%"]) == (2, 0, 0)


def test_points_take_no_part_in_the_figures_of_boxes() -> None:
    row = make_points([(50, 50)], [(50, 50), (60, 60)])
    row["gt"].append({"desc": "cat", "bbox_2d": [0, 0, 9, 9]})
    instances = make_instances([row])
    assert (len(instances.truth), len(instances.predicted)) == (1, 0)
    assert instances.left_out == {LEFT_OUT_POINTS: 3}


def test_a_point_hits_a_box_or_an_outline_by_lying_in_it() -> None:
    row = make_points([], [(10, 10), (30, 30), (50, 22), (58, 22)])
    triangle = [40, 20, 60, 20, 50, 40]
    row["gt"] = [
        {"desc": "cat", "bbox_2d": [10, 10, 20, 20]},
        {"desc": "cat", "poly": triangle},
        {"desc": "cat", "bbox_2d": [100, 100, 120, 120]},
    ]
    found = figures(row)
    assert found["distance"] is None
    assert found["inside"] == {
        "true": 3,
        "judged": 4,
        "F1": 4 / 7,
        "precision": 2 / 4,
        "recall": 2 / 3,
    }


def test_as_many_regions_are_hit_as_can_be() -> None:
    """A point in both boxes makes room for one that is in the first alone."""
    for order in itertools.permutations([(15, 15), (5, 5)]):
        row = make_points([], order)
        row["gt"] = [
            {"desc": "cat", "bbox_2d": [0, 0, 20, 20]},
            {"desc": "cat", "bbox_2d": [10, 10, 30, 30]},
        ]
        assert figures(row)["inside"]["recall"] == 1


def test_regions_of_a_class_that_is_answered_in_boxes_are_not_looked_for() -> None:
    row = make_points([], [(5, 5)], desc="eye")
    row["gt"] = [
        {"desc": "eye", "bbox_2d": [0, 0, 9, 9]},
        {"desc": "person", "bbox_2d": [0, 0, 90, 90]},
        {"desc": "dog", "bbox_2d": [50, 50, 90, 90]},
    ]
    row["pred"].append({"desc": "person", "bbox_2d": [0, 0, 90, 90], "score": 1})
    found = figures(row)["inside"]
    assert (found["true"], found["recall"], found["precision"]) == (2, 1 / 2, 1)


@pytest.mark.parametrize("mark", ["iscrowd", "ignore"])
def test_a_point_at_what_is_passed_over_is_not_judged(mark: str) -> None:
    row = make_points([(50, 50), (150, 150)], [(51, 50), (120, 20), (5, 5)])
    row["gt"][0][mark] = 1
    row["gt"].append({"desc": "cat", "bbox_2d": [100, 0, 140, 40], mark: 1})
    found = figures(row)
    assert (found["true"], found["distance"]["recall@2%"]) == (1, 0)
    instances = make_instances([row])
    matches = match_points(instances)
    assert matches.distance.counted(0.02).tolist() == [False, True, True]
    assert matches.distance.counted(0.001).tolist() == [True, True, True]
    assert not matches.inside.sought.any()


def test_unknown_descs_are_wrong_points() -> None:
    row = make_points([(50, 50)], [(50, 50)])
    row["pred"].append({"desc": "cow", "point_2d": [9, 9], "score": 1})
    assert figures(row)["distance"]["precision@2%"] == 1 / 2


def test_classes_and_images_have_their_own_counts() -> None:
    cats = make_points([(50, 50), (90, 90)], [(50, 50), (10, 10)])
    dogs = make_points([(50, 50)], [(50, 50)], desc="dog")
    matches = match_points(make_instances([cats, dogs]))
    assert point_counts(matches) == [
        {"true": 2, "predicted": 2, "right": 1},
        {"true": 1, "predicted": 1, "right": 1},
    ]
    rows = {row["class"]: row for row in figures(cats, dogs)["per_class"]}
    assert rows["cat"]["F1@2%"] == 1 / 2
    assert rows["dog"] == {
        "class": "dog",
        "true": 1,
        "predicted": 1,
        **dict.fromkeys(["F1@1%", "F1@2%", "F1@5%"], 1.0),
        "F1 inside": None,
    }


points = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


@given(points, points)
def test_a_wider_share_finds_no_less(true: list[Point], said: list[Point]) -> None:
    if not true:
        return
    found = figures(make_points(true, said))["distance"]
    recalls = [found[f"recall@{share:.0%}"] for share in SHARES]
    assert recalls == sorted(recalls)
    assert found["recall@5%"] <= min(1, len(said) / len(true))


@given(points)
def test_perfect_answers_have_every_figure_at_one(true: list[Point]) -> None:
    if not true:
        return
    found = figures(make_points(true, true))["distance"]
    assert {found[f"F1@{share:.0%}"] for share in SHARES} == {1.0}
    assert found["mean_distance"] == 0


@given(st.integers(0, 4), st.integers(0, 4), st.data())
def test_no_other_pairs_are_more(rows: int, columns: int, data: st.DataObject) -> None:
    hits = np.array(
        [[data.draw(st.booleans()) for _ in range(columns)] for _ in range(rows)], dtype=np.bool_
    ).reshape(rows, columns)
    pairs = most_pairs(hits)
    assert all(hits[pair] for pair in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    every = [pair for pair in itertools.product(range(rows), range(columns)) if hits[pair]]
    most = max(
        size
        for size in range(min(rows, columns) + 1)
        for chosen in itertools.combinations(every, size)
        if len({r for r, _ in chosen}) == len({c for _, c in chosen}) == size
    )
    assert len(pairs) == most
