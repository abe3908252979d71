from coordexp.evaluation.instances import LEFT_OUT_LINES, LEFT_OUT_TRUTH, LEFT_OUT_UNKNOWN
from tests.evaluation.conftest import make_instances, make_row

BOX = (10, 10, 50, 50)


def test_unknown_descs_go_to_a_bucket_and_are_counted() -> None:
    rows = [make_row([("cat", BOX)], [("cow", BOX, 0.5), ("cow", BOX, 0.4), ("cat", BOX, 0.3)])]
    found = make_instances(rows)
    assert [item.category for item in found.predicted] == [2, 2, 1]
    assert found.unknown == {"cow": 2}
    assert found.left_out == {}


def test_dropped_unknown_descs_are_counted_too() -> None:
    rows = [make_row([("cat", BOX)], [("cow", BOX, 0.5), ("cat", BOX, 0.3)])]
    found = make_instances(rows, unknown="drop")
    assert [item.category for item in found.predicted] == [1]
    assert found.unknown == {"cow": 1}
    assert found.left_out == {LEFT_OUT_UNKNOWN: 1}


def test_what_has_no_area_is_left_out_and_counted() -> None:
    data = make_row([("cat", (5, 5, 5, 9))], [("cat", (5, 5, 5, 9), 0.5)])
    data["gt"].append({"desc": "wire", "line": [0, 7, 90, 7]})
    data["pred"].append({"desc": "wire", "line": [0, 7, 90, 7], "score": 0.5})
    found = make_instances([data])
    assert found.truth == ()
    assert [item.geometry.kind for item in found.predicted] == ["bbox_2d"]
    assert found.left_out == {LEFT_OUT_TRUTH: 2, LEFT_OUT_LINES: 1}


def test_the_box_of_a_polygon_is_its_bounding_box() -> None:
    data = make_row()
    data["gt"] = [{"desc": "a", "poly": [0, 0, 9, 0, 4, 8]}]
    (item,) = make_instances([data]).truth
    assert (item.box, item.area) == ((0, 0, 9, 8), 72)
