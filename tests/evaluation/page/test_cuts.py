from pathlib import Path

import pytest

from coordexp.evaluation.evaluate import evaluate_predictions
from coordexp.evaluation.page.cuts import CURVES_SHOWN
from tests.evaluation.conftest import Row, make_random_rows, make_row, write_predictions
from tests.viewing.chromium import check_page, result_of

BOX = (10, 10, 50, 50)


def scores_section(tmp_path: Path, rows: list[Row]) -> str:
    evaluate_predictions(write_predictions(tmp_path / "p.jsonl", rows), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    return page.partition("<h2>Scores</h2>")[2].partition("<h2>Mistakes</h2>")[0]


def test_the_best_score_is_told_with_what_makes_it_too_good(tmp_path: Path) -> None:
    rows = [{**row, "image": f"{k}.png"} for k, row in enumerate(make_random_rows(1, images=30))]
    section = scores_section(tmp_path, rows)
    assert "F1 is best at a score of " in section
    assert "chosen on the very images that it is judged on, which flatters it: where" in section
    assert section.count('class="mark"') == 4  # all classes, and each of three
    assert "Curves of 3 classes" in section


def test_where_halves_are_too_few_that_is_told(tmp_path: Path) -> None:
    section = scores_section(tmp_path, [make_row([("a", BOX)], [("a", BOX, 0.5)])])
    assert "there are too few to say by how much" in section
    assert "One score, and so one cut" in section


def test_where_nothing_is_found_no_score_is_praised(tmp_path: Path) -> None:
    section = scores_section(tmp_path, [make_row([("a", BOX)])])
    assert "F1 is best" not in section
    assert "Nothing is predicted" in section


def test_of_many_classes_the_most_frequent_are_drawn(tmp_path: Path) -> None:
    names = [f"c{k:02}" for k in range(CURVES_SHOWN + 3)]
    rows = [make_row([(name, BOX) for name in names], image="a.png")]
    section = scores_section(tmp_path, [*rows, make_row([(names[-1], BOX)], image="b.png")])
    assert f"The {CURVES_SHOWN} most frequent classes; 3 more are in metrics.json" in section
    assert names[-1] in section
    assert f">{names[-2]}<" not in section


@pytest.mark.browser
@pytest.mark.slow
def test_the_curves_read_well_and_open_on_a_click(tmp_path: Path) -> None:
    rows = make_random_rows(1, images=30)
    evaluate_predictions(write_predictions(tmp_path / "p.jsonl", rows), tmp_path)
    check_page(tmp_path / "report.html", tmp_path)
    opened = """
        const fold = [...document.querySelectorAll("details")].find(
          (each) => each.innerText.includes("Curves of 3 classes"));
        fold.querySelector("summary").click();
        return [fold.open, fold.querySelectorAll("svg").length];"""
    assert result_of(tmp_path / "report.html", tmp_path, opened) == [True, 3]
