from pathlib import Path

import pytest

from coordexp.data.files.jsonl import write_jsonl
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


OWN = """
tasks:
  cars: {train: DATA/train.jsonl, heldout: DATA/val.jsonl, prompt: Find every car.}
"""


def own_study(folder: Path, **files: list[dict[str, object]]) -> Path:
    """Write a study on a task of its own, with 60 training records, unless others are given."""
    rows = {"train": [picture(k) for k in range(60)], "val": [picture(900 + k) for k in range(3)]}
    for name, found in (rows | files).items():
        write_jsonl(folder / f"{name}.jsonl", found)
    text = STUDY.replace("[new-looks, known]", "[cars]").replace("[100, 50]", "[60, 20]")
    text += OWN.replace("DATA", str(folder)) + "heldout: 3\n"
    return write_study(folder, text)


def picture(number: int, **more: object) -> dict[str, object]:
    return {"images": [f"{number}.png"], "width": 64, "height": 64, "objects": [], **more}


def test_a_study_may_have_tasks_of_its_own(tmp_path: Path) -> None:
    plan = load_plan(own_study(tmp_path))
    assert {cell.task for cell in plan.cells} == {"known", "cars"}
    assert plan.question("cars") == "Find every car."
    assert plan.question("known") == "Find every digit."
    # Those that are generated come first, as they are cheap.
    assert next(cell.task for cell in plan.cells if cell.seed == 0) == "known"


def test_a_task_may_leave_its_question_to_the_recipes(tmp_path: Path) -> None:
    path = own_study(tmp_path)
    path.write_text(path.read_text("utf-8").replace(", prompt: Find every car.", ""), "utf-8")
    assert load_plan(path).question("cars") is None


def test_all_problems_of_a_study_are_told_at_once(tmp_path: Path) -> None:
    path = own_study(
        tmp_path,
        train=[picture(1), picture(2, objects=[{"desc": "car"}])],
        val=[picture(901), picture(902)],
    )
    text = path.read_text("utf-8")
    text = text.replace("base: plain}", "base: plane}").replace("2.0e-3", "-1.0")
    path.write_text(text.replace("tasks: [cars]", "tasks: [cars, vans]"), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    message = str(caught.value)
    for wanted in (
        "study.yaml: 5 problem(s)",
        "recipes.one.base: 'plane' is not one of plain",
        "arms.0.tasks: 'vans' is not one of known, new-looks, new-convention, tree-crowns, cars",
        "tasks.cars.train: " + str(tmp_path / "train.jsonl") + ":2: ",
        "has 2 records, the study asks for 3",
        "recipes.two: 1 problem(s)\n    training.learning_rate",
    ):
        assert wanted in message


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ([picture(1)], None, r"tasks\.cars\.train: .*train\.jsonl has 1 records, .* asks for 60"),
        (
            [picture(k) for k in range(70)],
            [picture(3), picture(901), picture(4)],
            r"tasks\.cars: 2 pictures are in both train and heldout, such as .*3\.png",
        ),
        (
            [picture(k) for k in range(70)],
            [
                picture(901),
                {"images": ["./7.png"], "width": 64, "height": 64, "objects": []},
                picture(902),
            ],
            "a picture is in both",
        ),
    ],
)
def test_records_that_do_not_do_are_found_before_anything_runs(
    tmp_path: Path,
    train: list[dict[str, object]],
    val: list[dict[str, object]] | None,
    message: str,
) -> None:
    files = {"train": train} | ({} if val is None else {"val": val})
    with pytest.raises(ConfigError, match=message):
        load_plan(own_study(tmp_path, **files))


def test_a_task_without_its_file_is_named(tmp_path: Path) -> None:
    path = own_study(tmp_path)
    (tmp_path / "val.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"tasks\.cars\.heldout: .*val\.jsonl"):
        load_plan(path)


def test_no_own_task_hides_a_generated_one(tmp_path: Path) -> None:
    path = own_study(tmp_path)
    path.write_text(path.read_text("utf-8").replace("  cars:", "  known:"), "utf-8")
    with pytest.raises(ConfigError, match=r"tasks\.known: a generated task has this name"):
        load_plan(path)


def test_a_task_that_cannot_be_painted_here_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordexp.scenes.tree_crowns._PACKAGE", "no_such_package")
    text = STUDY.replace("[new-looks, known]", "[tree-crowns]")
    with pytest.raises(ConfigError, match=r"tasks: tree-crowns: .*pip install no_such_package"):
        load_plan(write_study(tmp_path, text))


@pytest.mark.parametrize(
    ("graft", "message"),
    [
        ("{task: knwon, size: 5, seed: 9}", "bases.plain.graft.task: 'knwon' is not one of known"),
        ("{task: known, size: 5, seed: 9}, expand: true", "expand and graft both"),
        ("{task: known, size: 5, seed: 9, config: no.yaml}", "no such file"),
        ("{task: known, size: 5, seed: 9, config: odd.yaml}", "did you mean 'max_steps'"),
        ("{task: known, size: 5}", "bases.plain.graft.seed: Field required"),
    ],
)
def test_a_graft_that_cannot_be_made_is_found_before(
    tmp_path: Path, graft: str, message: str
) -> None:
    (tmp_path / "odd.yaml").write_text("training: {max_step: 5}", "utf-8")
    text = STUDY.replace("{path: tiny}", f"{{path: tiny, graft: {graft}}}")
    with pytest.raises(ConfigError, match=message):
        load_plan(write_study(tmp_path, text))


def test_an_untrained_recipe_is_another_one_than_the_same_trained(tmp_path: Path) -> None:
    trained = load_plan(write_study(tmp_path))
    text = STUDY.replace("one: {base: plain}", "one: {base: plain, train: false}")
    asked = load_plan(write_study(tmp_path, text))
    assert trained.digest("one") != asked.digest("one")
    assert trained.digest("two") == asked.digest("two")
