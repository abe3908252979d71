import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from coordexp.data.files.jsonl import write_jsonl
from coordexp.lab.results import Line
from coordexp.lab.side_by_side import PICTURES, compared_pictures
from coordexp.lab.study import Cell, Plan, load_plan

STUDY = """
out: OUT
extends: [shared.yaml]
bases:
  plain: {path: tiny}
recipes:
  one: {base: plain}
  two: {base: plain, answers: [expectation, token]}
arms:
  - {recipes: [two, one], tasks: [known], sizes: [5, 50], seeds: [0, 1]}
"""
SHARED = """
model: {path: "?"}
training: {output_dir: "?", max_steps: 5, learning_rate: 1.0e-3}
data: {train: "?"}
"""
HELDOUT = 11
ENDED = Line(
    study="s",
    task="known",
    size=50,
    recipe="one",
    seed=0,
    base="plain",
    heldout=HELDOUT,
    digest="abc",
    commit=None,
    cost={},
    figures={},
    problem=None,
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "shared.yaml").write_text(SHARED, "utf-8")
    (tmp_path / "study.yaml").write_text(STUDY.replace("OUT", str(tmp_path / "out")), "utf-8")
    (tmp_path / "pictures").mkdir()
    for number in range(HELDOUT):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    return load_plan(tmp_path / "study.yaml")


def ended(plan: Plan, *cells: tuple[str, int, int]) -> dict[Cell, Line | None]:
    """Write predictions of some runs by recipe, size and seed; return their lines and no others."""
    lines: dict[Cell, Line | None] = dict.fromkeys(plan.cells)
    for recipe, size, seed in cells:
        cell = Cell(seed=seed, task="known", size=size, recipe=recipe)
        for answer in plan.study.recipes[recipe].answers:
            folder = plan.study.out / "runs" / cell.folder / answer
            rows = [row(plan, folder, number) for number in range(HELDOUT)]
            write_jsonl(folder / "predictions.jsonl", rows)
        lines[cell] = replace(ENDED, size=size, recipe=recipe, seed=seed)
    return lines


def row(plan: Plan, folder: Path, number: int) -> dict[str, object]:
    """Return a line about a picture; the first two hold nothing."""
    thing = {"desc": "car", "bbox_2d": [1, 1, 20, 20]}
    root = plan.study.out.parent / "pictures"
    return {
        "root": os.path.relpath(root, folder),
        "image": f"{number}.png",
        "width": 40,
        "height": 40,
        "gt": [] if number < 2 else [thing],
        "pred": [thing | {"score": 0.5}] * (number % 3),
    }


def test_every_arm_is_shown_behind_the_truth_on_the_same_pictures(plan: Plan) -> None:
    lines = ended(plan, ("one", 50, 0), ("two", 50, 0))
    compared = list(compared_pictures(plan, lines))
    assert len(compared) == PICTURES
    for picture in compared:
        captions = [shot.caption for shot in picture.shots]
        assert captions[0] == "true: 1 object"
        # In the order of the study's recipes, and of each one's answers.
        names = [caption.split(":")[0] for caption in captions[1:]]
        assert names == ["one", "two/expectation", "two"]


def test_pictures_are_spread_over_those_that_hold_something(plan: Plan) -> None:
    compared = list(compared_pictures(plan, ended(plan, ("one", 5, 0))))
    shown = [int(picture.title.split(": ")[1].removesuffix(".png")) for picture in compared]
    assert shown == sorted(set(shown))
    assert min(shown) == 2
    assert max(shown) > 7


def test_the_largest_size_and_the_seed_of_most_runs_are_shown(plan: Plan) -> None:
    lines = ended(
        plan, ("one", 5, 0), ("two", 5, 0), ("one", 50, 0), ("one", 50, 1), ("two", 50, 1)
    )
    (title,) = {picture.title.split(":")[0] for picture in compared_pictures(plan, lines)}
    assert title == "known, 50 training pictures, seed 1"


def test_a_picture_that_is_gone_is_left_out(plan: Plan) -> None:
    lines = ended(plan, ("one", 5, 0))
    for path in (plan.study.out.parent / "pictures").iterdir():
        path.unlink()
    assert list(compared_pictures(plan, lines)) == []


def test_a_study_without_an_ended_run_has_no_pictures(plan: Plan) -> None:
    lines = ended(plan)
    lines[plan.cells[0]] = replace(ENDED, problem="out of memory")
    assert list(compared_pictures(plan, lines)) == []
