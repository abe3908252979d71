from pathlib import Path

import pytest

from coordexp.errors import ConfigError
from coordexp.lab.study import Cell, load_plan

SHARED = """
model: {path: "?"}
training: {output_dir: "?", max_steps: 5, learning_rate: 1.0e-3}
data: {train: "?"}
"""
STUDY = """
out: runs/study
extends: [shared.yaml]
against: [one]
bases:
  plain: {path: tiny}
recipes:
  one: {base: plain}
  two: {base: plain, config: {training: {learning_rate: 2.0e-3}}}
arms:
  - {recipes: [two, one], tasks: [new-looks, known], sizes: [100, 50], seeds: [1, 0]}
  - {recipes: [one], tasks: [known], sizes: [50], seeds: [0, 7]}
"""


def write_study(folder: Path, text: str = STUDY) -> Path:
    (folder / "shared.yaml").write_text(SHARED, "utf-8")
    path = folder / "study.yaml"
    path.write_text(text, "utf-8")
    return path


def test_every_cell_is_run_once_and_one_seed_is_finished_before_the_next(tmp_path: Path) -> None:
    plan = load_plan(write_study(tmp_path))
    assert len(plan.cells) == len(set(plan.cells)) == 17
    assert [cell.seed for cell in plan.cells] == [0] * 8 + [1] * 8 + [7]
    assert plan.cells[0] == Cell(seed=0, task="known", size=50, recipe="one")
    assert plan.cells[1].recipe == "two"
    assert plan.cells[4].task == "new-looks"


def test_a_recipe_lies_over_what_all_share(tmp_path: Path) -> None:
    configs = load_plan(write_study(tmp_path)).configs
    rates = [configs[name]["training"]["learning_rate"] for name in ("one", "two")]  # type: ignore[index]
    assert rates == [1e-3, 2e-3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("base: plain}", "base: plane}", "recipes.one.base: 'plane' is not one of plain"),
        ("against: [one]", "against: [three]", "against: 'three' is not one of one, two"),
        ("[new-looks,", "[new-lucks,", "arms.0.tasks: 'new-lucks' is not one of known"),
        ("recipes: [two, one]", "recipes: [tow]", "arms.0.recipes: 'tow' is not one of"),
        ("sizes: [100, 50]", "sizes: [0]", "arms.0.sizes.0: "),
        ("out: runs/study", "put: runs/study", "out: Field required"),
        ("extends: [shared.yaml]", "extends: [none.yaml]", "no such file"),
        ("learning_rate: 2.0e-3", "learning_rat: 2.0e-3", "did you mean 'learning_rate'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_plan(write_study(tmp_path, STUDY.replace(old, new)))


def test_a_wrong_recipe_is_found_before_anything_runs(tmp_path: Path) -> None:
    text = STUDY.replace("learning_rate: 2.0e-3", "learning_rate: -1.0")
    with pytest.raises(ConfigError, match=r"recipes\.two"):
        load_plan(write_study(tmp_path, text))
    assert not (tmp_path / "runs").exists()
