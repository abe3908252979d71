import pytest

from coordexp.evaluation.measure.figures import evaluate_instances, parse_health
from coordexp.evaluation.measure.instances import collect_instances
from coordexp.evaluation.measure.predictions import parse_prediction
from tests.evaluation.conftest import Row, make_random_rows, make_row

BOX = (10, 10, 50, 50)


def metrics_of(rows: list[Row]) -> Row:
    predictions = [parse_prediction(item) for item in rows]
    instances = collect_instances(predictions, matching="exact", unknown="bucket")
    return evaluate_instances(predictions, instances, seed=0).metrics()


def test_perfect_predictions_are_perfect_in_every_figure() -> None:
    rows = make_random_rows(2)
    for number, item in enumerate(rows):
        item["pred"] = [
            {**thing, "score": 0.9 - number / 100 - k / 1000} for k, thing in enumerate(item["gt"])
        ]
    metrics = metrics_of(rows)
    assert metrics["bbox"]["AP"] == pytest.approx(1.0)
    assert set(metrics["f1"].values()) == {1.0}
    assert metrics["segm"] is None
    assert set(metrics["mistakes"].values()) == {0}
    assert {row["recall"] for row in metrics["recall_by_count"]} == {1.0}
    assert metrics["duplicates"]["objects"] == 0
    assert metrics["scores"]["warning"] is None
    assert {row["F1@0.5"] for row in metrics["per_class"]} == {1.0}


def test_statuses_and_reasons_are_counted() -> None:
    rows = [
        make_row(),
        make_row(status="salvaged", dropped=["odd", "odd", "no desc"]),
        make_row(status="failed", finish="length"),
    ]
    parse = parse_health([parse_prediction(item) for item in rows])
    assert parse["status"] == {"ok": 1, "salvaged": 1, "failed": 1}
    assert parse["ok_share"] == pytest.approx(1 / 3)
    assert parse["dropped"] == {"odd": 2, "no desc": 1}
    assert parse["dropped_objects"] == 3
    assert parse["finish_reason"] == {"eos": 2, "length": 1}


def test_unknown_descs_are_told() -> None:
    categories = metrics_of([make_row([("cat", BOX)], [("cow", BOX, 0.5)])])["categories"]
    assert categories["unknown_objects"] == 1
    assert categories["most_frequent_unknown"] == {"cow": 1}


def test_constant_scores_are_told_with_their_deviation() -> None:
    scores = metrics_of(make_random_rows(1, tied=True))["scores"]
    assert scores["constant"]
    assert scores["image_orders"] == 20
    assert scores["bbox_sd"]["AP"] > 0
    assert scores["segm_sd"] is None
    assert "same score" in scores["warning"]


def test_masks_are_measured_where_the_truth_has_polygons() -> None:
    row = make_row([("cat", BOX)], [("cat", BOX, 0.5)])
    shape = {"desc": "pond", "poly": [60, 60, 90, 60, 90, 90]}
    row["gt"].append(shape)
    row["pred"].append({**shape, "score": 0.4})
    metrics = metrics_of([row])
    assert metrics["bbox"]["AP"] == pytest.approx(1.0)
    assert metrics["segm"]["AP"] == pytest.approx(1.0)
    assert [item["segm AP"] for item in metrics["per_class"]] == [None, pytest.approx(1.0)]


def test_nothing_at_all_gives_empty_figures() -> None:
    metrics = metrics_of([make_row()])
    assert set(metrics["bbox"].values()) == {None}
    assert set(metrics["f1"].values()) == {None}
    assert metrics["per_class"] == []
