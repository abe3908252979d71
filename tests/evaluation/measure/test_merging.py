"""One picture on two lines is judged once, unless it was asked two things."""

import logging
from pathlib import Path

import pytest

from coordexp.errors import RecordError
from coordexp.evaluation.evaluate import compute_figures, evaluate_predictions
from coordexp.evaluation.measure.merging import join_lines
from coordexp.evaluation.measure.predictions import parse_prediction
from tests.evaluation.conftest import Row, make_random_rows, make_row, write_predictions

ONE, OTHER = (10, 10, 50, 50), (60, 60, 90, 90)
PATH = Path("p.jsonl")


def test_truth_that_was_split_over_two_lines_comes_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = [("a", ONE, 0.9), ("b", OTHER, 0.8)]
    rows = [
        make_row([("a", ONE)], answer),
        make_row([("a", ONE)], [("a", ONE, 0.5)], image="images/2.png"),
        make_row([("b", OTHER)], [("a", ONE, 0.900001), ("b", OTHER, 0.8)]),
    ]
    path = write_predictions(tmp_path / "p.jsonl", rows)
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_predictions(path, tmp_path / "out")
    assert (metrics["bbox"]["AP"], metrics["f1"]["F1@0.5"]) == (pytest.approx(1), 1)
    assert (metrics["images"], metrics["objects"]["true"]) == (2, 3)
    assert metrics["objects"]["predicted"] == 3
    (told,) = metrics["notes"]
    assert told.startswith("1 lines ask of a picture what an earlier line asks")
    assert "line 3, 'images/1.png'" in told
    assert told in caplog.text
    assert "1 lines ask of a picture" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_referring_expressions_are_judged_alone(tmp_path: Path) -> None:
    rows: list[Row] = [
        make_row([("a", ONE)], [("a", ONE, 0.9)]) | {"prompt": "the left one"},
        make_row([("a", OTHER)], [("a", OTHER, 0.9)]) | {"prompt": "the right one"},
    ]
    metrics = compute_figures(write_predictions(tmp_path / "p.jsonl", rows)).metrics
    assert (metrics["images"], metrics["referring"]["expressions"]) == (2, 2)
    assert metrics["notes"] == []


def test_an_object_that_a_line_says_twice_stays_twice() -> None:
    rows = [make_row([], [("a", ONE, s) for s in scores]) for scores in ((0.5,), (0.5, 0.4))]
    joined = join_lines([parse_prediction(row) for row in rows], PATH)
    assert (len(joined.rows), len(joined.rows[0].predicted), joined.lines) == (1, 2, 1)


def test_files_without_such_lines_stay_as_they_are() -> None:
    rows = tuple(parse_prediction(row) for row in make_random_rows(3))
    joined = join_lines(rows, PATH)
    assert (joined.rows, joined.lines, joined.note()) == (rows, 0, None)


def test_lines_that_disagree_about_the_picture_are_refused() -> None:
    rows = [parse_prediction(row) for row in (make_row(), make_row() | {"width": 300})]
    with pytest.raises(RecordError, match=r"p\.jsonl:2: .* 300x160 pixels here and 200x160 in"):
        join_lines(rows, PATH)
