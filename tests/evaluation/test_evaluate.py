import csv
import json
import logging
from pathlib import Path

import pytest

from coordexp.errors import InputError, RecordError
from coordexp.evaluation.evaluate import EvaluateOptions, compute_figures, evaluate_predictions
from tests.evaluation.conftest import make_random_rows, make_row, write_predictions
from tests.viewing.chromium import check_page, external_urls, overflowing, result_of
from tests.viewing.hostile import EVIL, LONG, NAME, check_words_stay_words

BOX = (10, 10, 50, 50)
FILES = ["metrics.json", "per_class.csv", "per_image.jsonl", "report.html"]


def test_four_files_tell_the_same_story(tmp_path: Path) -> None:
    rows = make_random_rows(1)
    metrics = evaluate_predictions(
        write_predictions(tmp_path / "p.jsonl", rows), tmp_path / "deep" / "out"
    )
    out = tmp_path / "deep" / "out"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert json.loads((out / "metrics.json").read_text()) == metrics
    classes = list(csv.DictReader((out / "per_class.csv").read_text().splitlines()))
    assert [row["class"] for row in classes] == ["class 0", "class 1", "class 2"]
    assert sum(int(row["true"]) for row in classes) == metrics["objects"]["true"]
    images = [json.loads(line) for line in (out / "per_image.jsonl").read_text().splitlines()]
    assert [row["image"] for row in images] == [row["image"] for row in rows]
    assert sum(row["true"] for row in images) == metrics["objects"]["true"]
    html = (out / "report.html").read_text(encoding="utf-8")
    assert f"{metrics['bbox']['AP']:.3f}" in html
    assert external_urls(html) == []


def test_the_folder_of_the_predictions_can_be_the_output(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.jsonl", make_random_rows(1))
    before = path.read_bytes()
    assert evaluate_predictions(path, tmp_path) == evaluate_predictions(path, tmp_path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_constant_scores_are_told_everywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_predictions(tmp_path / "p.jsonl", make_random_rows(1, tied=True))
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_predictions(path, tmp_path)
    assert "same score" in caplog.text
    assert metrics["scores"]["warning"] in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_missing_pictures_cost_a_note_not_the_figures(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", [make_row([("a", BOX)], [("a", BOX, 0.5)])])
    (tmp_path / "images/1.png").unlink()
    assert evaluate_predictions(path, tmp_path)["bbox"]["AP"] == pytest.approx(1.0)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 of 1 pictures could not be opened" in html


def write_report_of(words: str, folder: Path, *, name: str) -> Path:
    """Write the report of a model and a dataset that say nothing else; return the page."""
    row = make_row([(words, BOX)], [(words, BOX, 0.5), (words + "!", BOX, 0.4)], image=name)
    broken = make_row([(words, BOX)], status="failed", dropped=[words], finish=words, image="1.png")
    broken["raw_text"] = words
    row["tokens"] = [[words, 0.3], [words, 1.0]]
    path = write_predictions(folder / name, [row, broken])
    evaluate_predictions(path, folder / "out", EvaluateOptions(compare=path))
    return folder / "out" / "report.html"


def test_words_of_a_model_and_names_of_files_stay_words(tmp_path: Path) -> None:
    page = write_report_of(EVIL, tmp_path, name=NAME).read_text(encoding="utf-8")
    check_words_stay_words(page, EVIL, times=10)
    check_words_stay_words(page, f"{NAME}: 2 images", f"{NAME}, on the same draws", f"{EVIL}! (1)")


@pytest.mark.browser
@pytest.mark.slow
def test_nothing_that_a_model_says_runs_in_a_browser(tmp_path: Path) -> None:
    page = write_report_of(EVIL, tmp_path, name=NAME)
    script = "document.querySelectorAll('details').forEach((d) => d.open = true);"
    assert result_of(page, tmp_path, f"{script} return document.title;") == "Evaluation"


@pytest.mark.browser
@pytest.mark.slow
def test_long_words_are_broken_on_a_phone(tmp_path: Path) -> None:
    page = write_report_of(LONG, tmp_path, name=f"{LONG}.png")
    assert overflowing(page, tmp_path) == []


def test_empty_truth_and_empty_predictions_make_a_page(tmp_path: Path) -> None:
    metrics = evaluate_predictions(write_predictions(tmp_path / "p.jsonl", [make_row()]), tmp_path)
    assert metrics["bbox"]["AP"] is None
    assert "there are no classes" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", [make_row(), {**make_row(), "raw_text": 7}])
    with pytest.raises(RecordError, match=r"p\.jsonl:2: raw_text"):
        evaluate_predictions(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="is a file"):
        evaluate_predictions(path, path)
    with pytest.raises(InputError, match=r"p\.jsonl is a file"):
        evaluate_predictions(path, path / "deep" / "out")


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written"):
        evaluate_predictions(tmp_path / "none.jsonl", tmp_path / "out")


def test_a_file_without_a_true_object_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_predictions(tmp_path / "p.jsonl", [make_row(pred=[("a", BOX, 0.5)])])
    evaluate_predictions(path, tmp_path)
    assert "not one true object" in caplog.text


def test_intervals_and_a_comparison_are_asked_for(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", make_random_rows(1))
    assert not {"intervals", "compare"} & set(compute_figures(path).metrics)
    options = EvaluateOptions(intervals=True, compare=path)
    metrics = evaluate_predictions(path, tmp_path / "out", options)
    assert metrics["intervals"]["AP"][0] <= metrics["bbox"]["AP"] <= metrics["intervals"]["AP"][1]
    assert metrics["compare"]["AP"]["difference"] == 0.0
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "95 % intervals" in html
    assert f"Beside {path}" in html


def test_files_of_other_records_are_not_compared(tmp_path: Path) -> None:
    rows = make_random_rows(1)
    path = write_predictions(tmp_path / "p.jsonl", rows)
    moved = [{**rows[0], "gt": []}, *rows[1:]]
    for number, (other, message) in enumerate(
        (
            (rows[:-1], "has 5 lines"),
            (rows[::-1], ":1: another image"),
            (moved, ":1: another truth"),
        )
    ):
        beside = write_predictions(tmp_path / f"{number}.jsonl", other)
        with pytest.raises(InputError, match=message):
            compute_figures(path, EvaluateOptions(compare=beside))


def test_a_calibration_is_fitted_stored_and_applied(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", make_random_rows(1, images=40))
    raw = compute_figures(path).metrics
    metrics = evaluate_predictions(
        path, tmp_path / "fitted", EvaluateOptions(fit_calibration="isotonic")
    )
    stored = tmp_path / "fitted" / "calibration.json"
    applied = compute_figures(path, EvaluateOptions(calibration=stored)).metrics
    assert applied == metrics
    assert metrics["calibration"]["applied"]["sha256"] == metrics["predictions"]["sha256"]
    assert metrics["calibration"]["images"] == "held-out half"
    assert metrics["bbox"] == raw["bbox"]
    assert "isotonic map" in (tmp_path / "fitted" / "report.html").read_text(encoding="utf-8")


def test_scores_are_calibrated_once(tmp_path: Path) -> None:
    rows = make_random_rows(1, images=40)
    path = write_predictions(tmp_path / "p.jsonl", rows)
    evaluate_predictions(path, tmp_path, EvaluateOptions(fit_calibration="isotonic"))
    first = next(index for index, row in enumerate(rows) if row["pred"])
    rows[first]["pred"][0]["score_parts"] = {"coord": 0.5, "raw": 0.5}
    write_predictions(path, rows)
    assert "ece" in compute_figures(path).metrics["calibration"]
    for options in (
        EvaluateOptions(calibration=tmp_path / "calibration.json"),
        EvaluateOptions(fit_calibration="logistic"),
    ):
        with pytest.raises(InputError, match=rf"p\.jsonl:{first + 1}: .* calibrated already"):
            compute_figures(path, options)


@pytest.mark.browser
@pytest.mark.slow
def test_the_report_renders_without_a_word_on_the_console(tmp_path: Path) -> None:
    rows = make_random_rows(1, tied=True)
    rows[0]["tokens"] = [["{", 1.0], ["class", 0.3]]
    path = write_predictions(tmp_path / "p.jsonl", rows)
    evaluate_predictions(path, tmp_path / "out", EvaluateOptions(intervals=True, compare=path))
    check_page(tmp_path / "out" / "report.html", tmp_path)


def test_what_does_not_count_is_counted_apart_and_overruled_marks_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = (10, 10, 50, 50)
    row = make_row([("cat", box)] * 4, [("cat", box, 0.9), ("cat", (0, 0, 200, 160), 0.8)])
    for thing, mark in zip(row["gt"][1:], ("iscrowd", "ignore", "ignore"), strict=True):
        thing[mark] = 1
    row["gt"][3]["iscrowd"] = 0
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_predictions(write_predictions(tmp_path / "p.jsonl", [row]), tmp_path)
    assert "1 true objects with ignore 1 beside iscrowd 0 are counted" in caplog.text
    assert metrics["objects"] == {
        "true": 2,
        "crowds": 1,
        "ignored": 1,
        "predicted": 2,
        "not_judged": 0,
        "clipped": 0,
        "left_out": {},
    }
