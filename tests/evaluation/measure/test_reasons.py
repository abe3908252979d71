import logging
from pathlib import Path

import pytest

from coordexp.evaluation.evaluate import EvaluateOptions, compute_figures, evaluate_predictions
from tests.evaluation.conftest import Row, make_random_rows, make_row, write_predictions

BOX = (10, 10, 50, 50)
DEFAULTS = EvaluateOptions()


def notes(tmp_path: Path, *rows: Row, options: EvaluateOptions = DEFAULTS) -> list[str]:
    path = write_predictions(tmp_path / "p.jsonl", rows)
    found: list[str] = compute_figures(path, options).metrics["notes"]
    return found


def test_descs_that_are_no_class_are_shown_with_their_near_misses(tmp_path: Path) -> None:
    pred = [("Cats", BOX, 0.9), ("traffic_light", BOX, 0.8), ("zebra", BOX, 0.7)]
    (told,) = notes(tmp_path, make_row([("cat", BOX), ("traffic light", BOX)], pred))
    assert told.startswith("all 3 predicted objects have a desc that is no class of the truth")
    assert "predicted 'Cats', 'traffic_light', 'zebra'; true 'cat', 'traffic light'" in told
    assert told.endswith("match them: 'Cats' for 'cat', 'traffic_light' for 'traffic light'")


def test_case_is_a_near_miss_where_it_counts(tmp_path: Path) -> None:
    row = make_row([("cat", BOX)], [("CAT", BOX, 0.9)])
    assert notes(tmp_path, row) == []
    (told,) = notes(tmp_path, row, options=EvaluateOptions(matching="exact"))
    assert told.endswith("'CAT' for 'cat'")


def test_one_stray_desc_among_many_is_no_reason(tmp_path: Path) -> None:
    pred = [("a", BOX, 0.9), *[("a", BOX, 0.1 + k / 100) for k in range(10)], ("b", BOX, 0.2)]
    assert notes(tmp_path, make_row([("a", BOX)], pred)) == []


def test_answers_that_could_not_be_read_and_empty_ones_are_told(tmp_path: Path) -> None:
    rows = [make_row([("a", BOX)], image=f"{k}.png", status="failed") for k in range(3)]
    assert notes(tmp_path, *rows) == [
        "3 of 3 answers could not be read at all (parse.status failed)",
        "not one object is predicted",
    ]


def test_fractions_are_recognised(tmp_path: Path) -> None:
    row = make_row([("a", BOX)], [("a", (0.05, 0.06, 0.25, 0.3), 0.9)])
    (told,) = notes(tmp_path, row)
    assert "no predicted box overlaps a true one by half" in told
    assert "they may be fractions" in told


def test_clipped_predictions_are_counted(tmp_path: Path) -> None:
    row = make_row([("a", BOX)], [("a", BOX, 0.9), ("a", (100, 100, 1000, 1000), 0.8)])
    (told,) = notes(tmp_path, row)
    assert told.startswith("1 of 2 predicted objects overhang their picture and were clipped")
    metrics = compute_figures(tmp_path / "p.jsonl").metrics
    assert metrics["objects"]["clipped"] == 1


def test_predictions_that_were_cut_at_a_score_are_told_with_their_number(tmp_path: Path) -> None:
    cut = [
        {**make_row([("a", BOX)], [("a", BOX, 0.5)], image=f"{k}.png", dropped=low), "min_score": s}
        for k, (low, s) in enumerate([(["below min score"] * 2, 0.3), ([], 0.3), (["odd"], 0.3)])
    ]
    (told,) = notes(tmp_path, *cut)
    assert told.startswith("objects below a score of 0.3 were left out when they were predicted")
    assert "2 objects in 1 of 3 answers. AP, recall and the curves" in told
    (told,) = notes(tmp_path, *cut, {**make_row(image="9.png"), "min_score": 0})
    assert "below a score of 0 or 0.3" in told


def test_a_sound_file_has_no_notes(tmp_path: Path) -> None:
    assert notes(tmp_path, *make_random_rows(4)) == []


@pytest.mark.parametrize("method", ["isotonic", "logistic"])
@pytest.mark.parametrize(
    "rows",
    [
        [make_row([("a", BOX)])],
        [make_row([("a", BOX)], [("a", BOX, 0.9)], image=f"{k}.png") for k in range(9)],
        [make_row([("a", BOX)], [("b", BOX, 0.9)], image=f"{k}.png") for k in range(9)],
        [make_row([("a", BOX)], [("a", BOX, 3.0)], image=f"{k}.png") for k in range(9)],
    ],
    ids=["nothing said", "all right", "all wrong", "no probabilities"],
)
def test_what_cannot_be_calibrated_is_evaluated_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: list[Row], method: str
) -> None:
    path = write_predictions(tmp_path / "p.jsonl", rows)
    (tmp_path / "calibration.json").write_text("of an earlier call")
    options = EvaluateOptions(fit_calibration="isotonic" if method == "isotonic" else "logistic")
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_predictions(path, tmp_path, options)
    assert metrics["notes"][-1].startswith("no calibration was fitted: ")
    assert metrics["notes"][-1] in caplog.text
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "calibration.json").exists()
