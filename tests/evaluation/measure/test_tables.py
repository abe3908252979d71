import pytest

from coordexp.evaluation.measure.figures import evaluate_instances
from coordexp.evaluation.measure.instances import collect_instances
from coordexp.evaluation.measure.predictions import parse_prediction
from tests.evaluation.conftest import make_row

BOX, NEAR, FAR = (10, 10, 50, 50), (10, 10, 50, 40), (100, 100, 140, 140)


def test_rows_by_hand() -> None:
    rows = [
        make_row([("cat", BOX)], [("cat", NEAR, 0.9), ("cat", FAR, 0.8)], status="salvaged"),
        make_row([("dog", BOX)], [], finish="length"),
    ]
    predictions = [parse_prediction(item) for item in rows]
    instances = collect_instances(predictions, matching="exact", unknown="bucket")
    found = evaluate_instances(predictions, instances, seed=0)
    cat, dog = found.classes
    assert (cat["class"], cat["true"], cat["predicted"]) == ("cat", 1, 2)
    assert (cat["precision@0.5"], cat["recall@0.5"]) == (0.5, 1.0)
    assert (cat["F1@0.5"], cat["F1@mIoU"]) == (pytest.approx(2 / 3), pytest.approx(0.4))
    assert (dog["predicted"], dog["AP"], dog["F1@0.5"], dog["precision@0.5"]) == (0, 0.0, 0.0, None)
    first, second = found.per_image()
    assert first["mistakes"] == {"hallucination": 1}
    assert (first["found@0.5"], first["mean_best_iou"], first["parse"]) == (1, 0.75, "salvaged")
    assert second["mistakes"] == {"miss": 1}
    assert (second["finish_reason"], second["F1@0.5"]) == ("length", 0.0)
