from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coordexp.evaluation.measure.average_precision import (
    coco_figures,
    has_masks,
)
from coordexp.evaluation.measure.coco_dataset import CocoKind, coco_dataset
from coordexp.evaluation.measure.instances import Instances
from tests.evaluation.conftest import make_instances, make_random_rows, make_row

BOX = (10, 10, 50, 50)
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "AP90")


def pycocotools_figures(found: Instances, kind: CocoKind) -> list[float | None]:
    """Return nine of the twelve figures that pycocotools prints, in its order, and AP90."""
    ids = np.arange(1, len(found.sizes) + 1)
    pair = []
    with redirect_stdout(StringIO()):
        for items in (found.truth, found.predicted):
            coco = COCO()
            coco.dataset = coco_dataset(found, items, kind, ids)
            coco.createIndex()
            pair.append(coco)
        run = COCOeval(*pair, kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    at_90 = run.eval["precision"][8, :, :, 0, -1]
    measured = at_90[at_90 > -1]
    stats = [*run.stats[:9], measured.mean() if measured.size else -1]
    return [None if value == -1 else value for value in stats]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), crowds=st.booleans())
def test_figures_equal_those_of_pycocotools(seed: int, crowds: bool) -> None:
    found = make_instances(make_random_rows(seed, crowds=crowds))
    figures = coco_figures(found, "bbox").overall.to_json()
    if len(found.truth):
        expected = pycocotools_figures(found, "bbox")
        assert [figures[name] for name in NAMES] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("crowds", [False, True])
def test_masks_equal_those_of_pycocotools(crowds: bool) -> None:
    rows = make_random_rows(3, crowds=crowds)
    for item in rows:
        for thing in (*item["gt"], *item["pred"]):
            x1, y1, x2, y2 = thing.pop("bbox_2d")
            thing["poly"] = [x1, y1, x2, (y1 + y2) / 2, x1, y2]
    found = make_instances(rows)
    assert has_masks(found)
    figures = coco_figures(found, "segm").overall.to_json()
    expected = pycocotools_figures(found, "segm")
    assert [figures[name] for name in NAMES] == pytest.approx(expected, abs=1e-6)


def test_perfect_predictions_score_one() -> None:
    rows = make_random_rows(0)
    for item in rows:
        item["pred"] = [{**thing, "score": 0.5} for thing in item["gt"]]
    result = coco_figures(make_instances(rows), "bbox")
    assert pytest.approx(1.0) == result.overall.AP
    assert pytest.approx(1.0) == result.overall.AR100
    assert [figures.AP for figures in result.per_class.values()] == pytest.approx([1, 1, 1])


def test_perfect_predictions_score_one_above_a_hundred_objects() -> None:
    boxes = [(x, y, x + 9, y + 9) for x in range(0, 190, 10) for y in range(0, 80, 10)]
    rows = [make_row([("cell", box) for box in boxes], [("cell", box, 0.5) for box in boxes])]
    figures = coco_figures(make_instances(rows), "bbox").overall
    assert len(boxes) == 152
    assert pytest.approx(1.0) == figures.AP
    assert pytest.approx(100 / 152) == figures.AR100


def test_an_object_found_twice_costs_precision_by_hand() -> None:
    # One true object, two predictions: the surer one 20 pixels off (IoU 1/3), the other perfect.
    # Precision at every recall is 1/2, at every IoU threshold.
    rows = [make_row([("cat", BOX)], [("cat", (30, 10, 70, 50), 0.9), ("cat", BOX, 0.5)])]
    figures = coco_figures(make_instances(rows), "bbox").overall
    assert pytest.approx((0.5, 0.5, 0.0)) == (figures.AP, figures.AP50, figures.AR1)


def test_without_predictions_everything_measured_is_zero() -> None:
    figures = coco_figures(make_instances([make_row([("cat", BOX)])]), "bbox").overall
    assert (figures.AP, figures.AR100, figures.APm) == (0.0, 0.0, 0.0)
    assert (figures.APs, figures.APl) == (None, None)


def test_without_truth_nothing_is_measured() -> None:
    for rows in ([make_row()], [make_row(pred=[("cat", BOX, 0.5)])]):
        result = coco_figures(make_instances(rows), "bbox")
        assert set(result.overall.to_json().values()) == {None}
        assert result.per_class == {}


def test_the_bucket_of_unknown_descs_is_no_class() -> None:
    rows = [make_row([("cat", BOX)], [("cat", BOX, 0.5), ("cow", BOX, 0.9)])]
    result = coco_figures(make_instances(rows), "bbox")
    assert pytest.approx(1.0) == result.overall.AP
    assert list(result.per_class) == [1]


def test_a_crowd_is_neither_found_nor_missed_by_hand() -> None:
    # The surer prediction lies in the crowd and is not judged; the other one is perfect.
    data = make_row([("cat", BOX), ("cat", (100, 0, 200, 100))])
    data["gt"][1]["iscrowd"] = 1
    inside = {"desc": "cat", "bbox_2d": [120, 10, 150, 40], "score": 0.9}
    data["pred"] = [inside, {"desc": "cat", "bbox_2d": list(BOX), "score": 0.5}]
    assert pytest.approx(1.0) == coco_figures(make_instances([data]), "bbox").overall.AP


def test_precision_over_recall_is_kept() -> None:
    rows = [make_row([("cat", BOX), ("cat", (100, 0, 150, 50))], [("cat", BOX, 0.9)])]
    loose, tight = coco_figures(make_instances(rows), "bbox").precision
    # One of two found: precision 1 up to recall 0.5, then 0.
    assert (loose[:51].tolist(), loose[51:].tolist()) == ([1.0] * 51, [0.0] * 50)
    assert tight.tolist() == loose.tolist()


def test_without_polygons_there_are_no_masks() -> None:
    assert not has_masks(make_instances([make_row([("cat", BOX)])]))


def test_image_order_matters_only_for_equal_scores() -> None:
    backwards = list(range(6))[::-1]
    distinct, tied = (
        make_instances(make_random_rows(1)),
        make_instances(make_random_rows(1, tied=True)),
    )
    assert coco_figures(distinct, "bbox").overall.to_json() == pytest.approx(
        coco_figures(distinct, "bbox", image_order=backwards).overall.to_json()
    )
    assert (
        pytest.approx(coco_figures(tied, "bbox", image_order=backwards).overall.AP)
        != coco_figures(tied, "bbox").overall.AP
    )
