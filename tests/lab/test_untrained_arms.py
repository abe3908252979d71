from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.data.files.jsonl import write_jsonl
from coordexp.lab.report import judge, load_arms
from coordexp.lab.results import Line
from coordexp.lab.study import Cell, load_plan

STUDY = """
out: OUT
extends: [shared.yaml]
against: [stock]
bases:
  plain: {path: tiny}
recipes:
  stock: {base: plain, train: false}
  one: {base: plain}
arms:
  - {recipes: [stock], tasks: [known], sizes: [5], seeds: [0]}
  - {recipes: [one], tasks: [known], sizes: [5], seeds: [0, 1, 2]}
"""
SHARED = """
model: {path: "?"}
training: {output_dir: "?", max_steps: 5, learning_rate: 1.0e-3}
data: {train: "?"}
"""
ENDED = Line(
    study="s",
    task="known",
    size=5,
    recipe="one",
    seed=0,
    base="plain",
    heldout=3,
    digest="abc",
    commit=None,
    cost={},
    figures={"token": {}},
    problem=None,
)


def test_a_base_that_is_not_trained_is_compared_with_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordexp.lab.compare.RESAMPLES", 20)
    (tmp_path / "shared.yaml").write_text(SHARED, "utf-8")
    (tmp_path / "study.yaml").write_text(STUDY.replace("OUT", str(tmp_path / "out")), "utf-8")
    plan = load_plan(tmp_path / "study.yaml")
    for cell in plan.cells:
        shift = 5 if cell.recipe == "stock" else 0
        box = {"desc": "car", "bbox_2d": [1, 1, 20, 20]}
        said = {"desc": "car", "bbox_2d": [1 + shift, 1, 20 + shift, 20], "score": 0.5}
        rows = [
            {"image": f"{k}.png", "width": 40, "height": 40, "gt": [box], "pred": [said]}
            for k in range(3)
        ]
        write_jsonl(tmp_path / "out/runs" / cell.folder / "token/predictions.jsonl", rows)
    lines: dict[Cell, Line | None] = {
        cell: replace(ENDED, recipe=cell.recipe, seed=cell.seed) for cell in plan.cells
    }
    arms = load_arms(plan, lines)
    verdict = next(found for found in judge(plan, arms) if found.difference.figure == "AP")
    assert (verdict.recipe, verdict.against) == ("one", "stock")
    assert verdict.difference.seeds == 3
    assert verdict.difference.words == "better"
