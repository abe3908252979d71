import numpy as np

from coordexp.evaluation.measure.instances import LEFT_OUT_LINES, LEFT_OUT_TRUTH, LEFT_OUT_UNKNOWN
from tests.evaluation.conftest import make_instances, make_row

BOX = (10, 10, 50, 50)


def test_unknown_descs_go_to_a_bucket_and_are_counted() -> None:
    rows = [make_row([("cat", BOX)], [("cow", BOX, 0.5), ("cow", BOX, 0.4), ("cat", BOX, 0.3)])]
    found = make_instances(rows)
    assert found.predicted.category.tolist() == [2, 2, 1]
    assert found.unknown == {"cow": 2}
    assert found.left_out == {}


def test_dropped_unknown_descs_are_counted_too() -> None:
    rows = [make_row([("cat", BOX)], [("cow", BOX, 0.5), ("cat", BOX, 0.3)])]
    found = make_instances(rows, unknown="drop")
    assert found.predicted.category.tolist() == [1]
    assert found.unknown == {"cow": 1}
    assert found.left_out == {LEFT_OUT_UNKNOWN: 1}


def test_what_has_no_area_is_left_out_and_counted() -> None:
    data = make_row([("cat", (5, 5, 5, 9))], [("cat", (5, 5, 5, 9), 0.5)])
    data["gt"].append({"desc": "wire", "line": [0, 7, 90, 7]})
    data["pred"].append({"desc": "wire", "line": [0, 7, 90, 7], "score": 0.5})
    found = make_instances([data])
    assert len(found.truth) == 0
    assert [geometry.kind for geometry in found.predicted.geometries] == ["bbox_2d"]
    assert found.left_out == {LEFT_OUT_TRUTH: 2, LEFT_OUT_LINES: 1}


def test_the_box_of_a_polygon_is_its_bounding_box() -> None:
    data = make_row()
    data["gt"] = [{"desc": "a", "poly": [0, 0, 9, 0, 4, 8]}]
    truth = make_instances([data]).truth
    assert (truth.boxes.tolist(), truth.area.tolist()) == ([[0, 0, 9, 8]], [72])


def test_an_area_that_the_dataset_knows_counts_and_crowds_are_marked() -> None:
    data = make_row([("cat", BOX), ("cat", BOX)])
    data["gt"][0] |= {"area": 7.5, "iscrowd": 1}
    truth = make_instances([data]).truth
    assert truth.area.tolist() == [7.5, 1600]
    assert truth.crowd.tolist() == [True, False]


def test_objects_know_their_place_in_the_line() -> None:
    data = make_row([("cat", (5, 5, 5, 9)), ("cat", BOX)], [("cat", BOX, 0.5)])
    found = make_instances([make_row(), data])
    assert (found.truth.image.tolist(), found.truth.place.tolist()) == ([1], [1])


def test_scores_and_predictions_can_be_exchanged() -> None:
    found = make_instances([make_row([("cat", BOX)], [("cat", BOX, 0.5), ("dog", BOX, 0.4)])])
    assert found.with_scores(found.predicted.score / 2).predicted.score.tolist() == [0.25, 0.2]
    rest = found.without_predictions(np.array([True, False])).predicted
    assert (rest.category.tolist(), len(rest)) == ([2], 1)
