"""The page of a study, from what its runs left behind."""

from pathlib import Path

import pytest

from coordexp.lab.execute import LINE_NAME
from coordexp.lab.report import COLUMNS, write_report
from coordexp.lab.results import Line
from coordexp.lab.study import Cell, Plan
from coordexp.lab.study_file import Recipe, Study
from tests.evaluation.conftest import make_row, write_predictions
from tests.viewing.chromium import overflowing
from tests.viewing.hostile import EVIL, LONG, NAME, check_words_stay_words

BOX = (10, 10, 50, 50)
FIGURES = dict.fromkeys(COLUMNS, 0.5)


def finish(out: Path, cell: Cell, problem: str | None = None) -> None:
    """Leave behind what a run does, and a prediction that it made."""
    folder = out / "runs" / cell.folder
    (folder / "token").mkdir(parents=True)
    write_predictions(
        folder / "token" / "predictions.jsonl", [make_row([("a", BOX)], [("a", BOX, 0.5)])]
    )
    line = Line(
        study="s",
        task=cell.task,
        size=cell.size,
        recipe=cell.recipe,
        seed=cell.seed,
        base="b",
        heldout=1,
        digest="d",
        commit=None,
        cost={"train": {"cpu_seconds": 7.0}},
        figures={} if problem else {"token": FIGURES},
        problem=problem,
    )
    (folder / LINE_NAME).write_text(line.to_json(), encoding="utf-8")


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordexp.lab.compare.RESAMPLES", 20)


def write_report_of(words: str, folder: Path, *, name: str) -> Path:
    """Write the page of a study of three recipes: two done, one failed and one run missing."""
    recipes = [f"{name} {letter}" for letter in "abc"]
    cells = [Cell(seed, name, 2, recipe) for recipe in recipes for seed in (0, 1)]
    larger = Cell(0, name, 3, recipes[0])
    for cell in (*cells[:4], larger):
        finish(folder, cell)
    finish(folder, cells[4], problem=words)
    study = Study.model_construct(
        out=folder,
        against=(recipes[0],),
        bases={},
        recipes={recipe: Recipe(base="b") for recipe in recipes},
        arms=(),
    )
    plan = Plan(study=study, name=words, shared={}, configs={}, grafts={}, cells=(*cells, larger))
    return write_report(plan)


@pytest.mark.usefixtures("few_draws")
def test_names_and_problems_of_a_study_stay_words(tmp_path: Path) -> None:
    page = write_report_of(EVIL, tmp_path, name=NAME).read_text(encoding="utf-8")
    check_words_stay_words(page, f"Study {EVIL}", f"failed: {EVIL}", f"AP on {NAME}")
    check_words_stay_words(page, f"{NAME} 2: {NAME} b against {NAME} a", times=4)
    check_words_stay_words(page, f"{NAME} 2 {NAME} c seed 1")


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_long_words_are_broken_on_a_phone(tmp_path: Path) -> None:
    page = write_report_of(LONG, tmp_path, name=LONG)
    assert overflowing(page, tmp_path) == []
