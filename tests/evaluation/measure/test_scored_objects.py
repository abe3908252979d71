import pytest

from coordexp.evaluation.measure.predictions import parse_prediction
from tests.evaluation.conftest import make_row


def test_polygons_and_lines_are_read() -> None:
    data = make_row()
    data["gt"] = [{"desc": "a", "poly": [0, 0, 9, 0, 9, 9]}, {"desc": "b", "line": [0, 0, 0, 9]}]
    kinds = [item.geometry.kind for item in parse_prediction(data).truth]
    assert kinds == ["poly", "line"]


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 5, 9, 5], [5, 5, 5, 5]])
def test_a_box_without_area_is_an_answer_not_an_error(box: list[int]) -> None:
    data = make_row(pred=[("cat", box, 0.5)])
    assert parse_prediction(data).predicted[0].geometry.values == tuple(box)


@pytest.mark.parametrize(
    ("geometry", "clipped"),
    [
        ({"bbox_2d": [-5, 10, 250.5, 90]}, (0, 10, 200, 90)),
        ({"bbox_2d": [300, 10, 400, 20]}, (200, 10, 200, 20)),
        ({"bbox_2d": [10, 10, 20, 160.0001]}, (10, 10, 20, 160)),
        ({"line": [-5, 10, 20, 170]}, (0, 10, 20, 160)),
        ({"poly": [-10, 0, 10, 0, 10, 20]}, (0, 10, 0, 0, 10, 0, 10, 20)),
        ({"poly": [-10, -10, -5, -10, -5, -5]}, (0, 0, 0, 0, 0, 0)),
    ],
)
def test_a_prediction_that_overhangs_is_clipped_and_marked(
    geometry: dict[str, object], clipped: tuple[float, ...]
) -> None:
    data = make_row() | {"pred": [{"desc": "a", "score": 0.5, **geometry}]}
    (item,) = parse_prediction(data).predicted
    assert item.clipped
    points = sorted(zip(item.geometry.values[0::2], item.geometry.values[1::2], strict=True))
    assert points == sorted(zip(clipped[0::2], clipped[1::2], strict=True))
    inside = make_row(pred=[("a", (0, 0, 200, 160), 0.5)])
    assert not parse_prediction(inside).predicted[0].clipped
