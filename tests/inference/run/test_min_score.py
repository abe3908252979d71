"""A least score leaves out what is below it, and says so."""

from collections.abc import Callable

import pytest

from coordexp.answers.prediction_lines import RowOptions, ScoreMap, prediction_row, scored_objects
from coordexp.data.contract.record import Record
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rendering.style import RenderingStyle
from tests.inference.integer_answers import integer_answer

MakeStyle = Callable[..., RenderingStyle]
RECORD = Record(images=("a.png",), width=999, height=999, objects=())
END_MARKS = QWEN3_VL.end_marks


SCENE = integer_answer(("four", 0.5), ("six", 0.75), ("two", 0.25), ("six", 0.125))


@pytest.mark.parametrize(
    ("least", "kept"),
    [(0.0, 4), (0.125, 4), (0.126, 3), (0.5, 2), (0.75, 1), (0.76, 0)],
)
def test_what_has_just_the_least_score_stays(
    make_style: MakeStyle, least: float, kept: int
) -> None:
    options = RowOptions(min_score=least)
    style = make_style(coord_tokens=False)
    found = scored_objects(RECORD, SCENE, style, options, end_marks=END_MARKS)
    assert len(found.objects) == kept
    assert [drop.reason for drop in found.dropped] == ["below min score"] * (4 - kept)
    assert found.status == "ok"


def test_the_least_score_is_one_of_calibrated_scores(make_style: MakeStyle) -> None:
    options = RowOptions(min_score=0.3, score_map=ScoreMap("d", lambda score: score / 2))
    style = make_style(coord_tokens=False)
    found = scored_objects(RECORD, SCENE, style, options, end_marks=END_MARKS)
    assert [(item.desc, item.score) for item in found.objects] == [("six", 0.375)]


def test_each_is_left_out_for_one_reason(make_style: MakeStyle) -> None:
    options = RowOptions(min_score=0.4, classes=("six", "two"), dedup_iou=0.9)
    style = make_style(coord_tokens=False)
    found = scored_objects(RECORD, SCENE, style, options, end_marks=END_MARKS)
    reasons = [drop.reason for drop in found.dropped]
    assert reasons == ["not in classes", "repeated", "below min score"]
    assert [item.desc for item in found.objects] == ["six"]


def test_a_line_says_where_it_was_cut(make_style: MakeStyle) -> None:
    style = make_style(coord_tokens=False)

    def row(options: RowOptions) -> dict[str, object]:
        return prediction_row(RECORD, SCENE, style, ".", options, end_marks=END_MARKS)

    assert row(RowOptions(min_score=0.5))["min_score"] == 0.5
    assert "min_score" not in row(RowOptions())
