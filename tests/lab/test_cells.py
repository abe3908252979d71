"""The lab around a stand-in for `coordexp`: what is run, kept, repeated and reported."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import InputError
from coordexp.lab import execute
from coordexp.lab.cells import run_study
from coordexp.lab.report import write_report
from coordexp.lab.results import load_lines
from coordexp.lab.stages import StageBook, StageProcesses
from coordexp.lab.study import Plan, load_plan

pytestmark = pytest.mark.slow

REAL_PYTHON = sys.executable  # before a stand-in takes its place

STUDY = """
out: {out}
results: {out}/study.jsonl
extends: [shared.yaml]
against: [one]
heldout: 3
bases:
  plain: {{path: {out}/base}}
recipes:
  one: {{base: plain}}
  two: {{base: plain, config: {{training: {{learning_rate: 2.0e-3}}}}}}
arms:
  - {{recipes: [one, two], tasks: [known], sizes: [2], seeds: [0, 1]}}
"""
SHARED = """
model: {path: "?"}
training: {output_dir: "?", max_steps: 5, learning_rate: 1.0e-3}
data: {train: "?"}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "shared.yaml").write_text(SHARED, "utf-8")
    (tmp_path / "out" / "base").mkdir(parents=True)
    path = tmp_path / "tried.yaml"
    path.write_text(STUDY.format(out=tmp_path / "out"), "utf-8")
    return load_plan(path)


def run(plan: Plan, *, processes: int = 1) -> bool:
    return run_study(plan, processes=processes, threads=1, say=lambda _: None)


def told(calls: Path) -> list[str]:
    return [line.split()[0] for line in calls.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("processes", [1, 3])
def test_every_run_gets_a_folder_and_a_line(plan: Plan, calls: Path, processes: int) -> None:
    assert run(plan, processes=processes)
    assert sorted(told(calls)) == ["predict"] * 4 + ["train"] * 4
    lines = load_lines(plan.study.out / "study.jsonl")
    assert {(line.recipe, line.seed) for line in lines.values()} == {
        (recipe, seed) for recipe in ("one", "two") for seed in (0, 1)
    }
    for line in lines.values():
        assert line.figures["token"]["AP"] == 1.0
        assert line.figures["token"]["AP90"] == 1.0
        assert line.figures["token"]["mean_bin_error"] == 0.0
        assert line.cost["train"]["cpu_seconds"] >= 0


def test_a_run_is_told_its_base_its_pictures_its_seed_and_the_question(
    plan: Plan, calls: Path
) -> None:
    assert run(plan)
    folder = plan.study.out / "runs" / "known" / "2" / "two" / "seed-1"
    text = (folder / "train.yaml").read_text("utf-8")
    for wanted in ("seed: 1", "learning_rate: 0.002", "Find every digit.", "seed-1/train.jsonl"):
        assert wanted in text
    assert f"train --config {folder / 'train.yaml'}" in calls.read_text("utf-8")


def test_what_is_done_is_not_done_again(plan: Plan, calls: Path) -> None:
    assert run(plan)
    before = calls.read_text("utf-8"), (plan.study.out / "study.jsonl").read_text("utf-8")
    assert run(plan)
    assert (calls.read_text("utf-8"), (plan.study.out / "study.jsonl").read_text("utf-8")) == before


def test_a_lost_results_file_is_written_again_from_the_runs(plan: Plan, calls: Path) -> None:
    assert run(plan)
    (plan.study.out / "study.jsonl").unlink()
    assert run(plan)
    assert len(load_lines(plan.study.out / "study.jsonl")) == 4
    assert told(calls).count("train") == 4


def test_a_failed_run_is_listed_and_tried_again(plan: Plan, calls: Path) -> None:
    (calls.parent / "fail").touch()
    assert not run(plan)
    lines = load_lines(plan.study.out / "study.jsonl").values()
    assert all("it went wrong" in str(line.problem) for line in lines)
    page = write_report(plan).read_text("utf-8")
    assert page.count("failed: train failed with exit code 1") == 4
    (calls.parent / "fail").unlink()
    assert run(plan)
    lines = load_lines(plan.study.out / "study.jsonl").values()
    assert all(line.problem is None for line in lines)


def test_a_killed_run_goes_on_at_the_stage_where_it_was(plan: Plan, calls: Path) -> None:
    assert run(plan)
    folder = plan.study.out / "runs" / "known" / "2" / "one" / "seed-0"
    (folder / execute.LINE_NAME).unlink()
    costs = json.loads((folder / "stages.json").read_text("utf-8"))
    costs["predict token"]["finished"] = False
    (folder / "stages.json").write_text(json.dumps(costs), "utf-8")
    before = told(calls)
    assert run(plan)
    assert told(calls) == [*before, "predict"]


STOPPED = """
import signal, sys
from coordexp.cli.app import main
from coordexp.lab import stages
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may ignore it
stages.sys.executable = {fake!r}
sys.argv = ["coordexp", "lab", "run", {study!r}]
main()
"""


@pytest.mark.parametrize(
    ("whom", "told_to"),
    [("the study", signal.SIGINT), ("the study", signal.SIGTERM), ("its run", signal.SIGTERM)],
)
def test_a_study_that_is_interrupted_stops_with_its_run_and_notes_no_failure(
    plan: Plan, calls: Path, whom: str, told_to: signal.Signals
) -> None:
    (calls.parent / "hang").touch()
    tried, waiting = plan.study.out.parent / "tried.yaml", calls.parent / "hanging"
    script = STOPPED.format(fake=str(calls.parent / "python"), study=str(tried))
    study = subprocess.Popen([REAL_PYTHON, "-c", script])
    while not (waiting.exists() and waiting.read_text("utf-8")):
        assert study.poll() is None
        time.sleep(0.05)
    child = int(waiting.read_text("utf-8"))
    os.kill(study.pid if whom == "the study" else child, told_to)
    assert study.wait(timeout=90) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert told(calls) == ["train"]
    assert not list((plan.study.out / "runs").rglob(execute.LINE_NAME))
    assert not (plan.study.out / "study.jsonl").exists()


def test_another_recipe_under_the_same_name_is_refused(plan: Plan, calls: Path) -> None:
    assert run(plan)
    path = plan.study.out.parent / "tried.yaml"
    path.write_text(path.read_text("utf-8").replace("2.0e-3", "3.0e-3"), "utf-8")
    with pytest.raises(InputError, match="another recipe under the name two"):
        run(load_plan(path))
    assert told(calls).count("train") == 4


def test_two_processes_do_not_run_one_study(plan: Plan, calls: Path) -> None:
    def say(_: str) -> None:
        with pytest.raises(InputError, match="another process"):
            run(plan)

    assert run_study(plan, processes=1, threads=1, say=say)
    assert told(calls).count("train") == 4


@pytest.mark.usefixtures("calls")
def test_the_page_lists_every_run_and_says_only_what_holds(plan: Plan) -> None:
    page = write_report(plan).read_text("utf-8")
    assert page.count("not there yet") == 4
    assert run(plan)
    page = write_report(plan).read_text("utf-8")
    assert "not there yet" not in page
    verdicts = json.loads((plan.study.out / "verdicts.json").read_text("utf-8"))
    assert {row["words"] for row in verdicts} == {"not told apart"}
    assert {(row["recipe"], row["against"]) for row in verdicts} == {("two", "one")}
    assert "By number of training pictures" not in page
    for recipe in ("one", "two"):
        assert page.count(f"known 2 {recipe} seed") == 2
        assert page.count(f"{recipe}: ") >= 3  # on each held-out picture


@pytest.mark.usefixtures("calls")
def test_a_run_that_is_asked_by_expectation_alone_is_on_the_page(plan: Plan) -> None:
    plan = write_again(plan, "two: {base: plain,", "two: {base: plain, answers: [expectation],")
    plan = write_again(plan, "sizes: [2]", "sizes: [2, 3]")
    assert run(plan)
    page = write_report(plan).read_text("utf-8")
    assert page.count("known 2 two/expectation seed") == 2
    assert "By number of training pictures" in page


def write_again(plan: Plan, old: str, new: str) -> Plan:
    """Return the plan of the study with something of its file replaced."""
    path = plan.study.out.parent / "tried.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return load_plan(path)


def test_a_recipe_that_is_not_trained_is_the_base_asked_as_training_would(
    plan: Plan, calls: Path
) -> None:
    plan = write_again(plan, "one: {base: plain}", "one: {base: plain, train: false}")
    plan = write_again(plan, f"{{path: {plan.study.out}/base}}", "{path: tiny}")
    assert run(plan)
    assert sorted(told(calls)) == ["predict"] * 4 + ["train"] * 2
    folder = plan.study.out / "runs" / "known" / "2" / "one" / "seed-0"
    assert f"predict --model {folder / 'checkpoint'} " in calls.read_text("utf-8")
    card = json.loads((folder / "checkpoint" / "coordexp.json").read_text("utf-8"))
    assert card["style"]["user_prompt"] == "Find every digit."
    assert not card["style"]["coord_tokens"]
    assert card["weights"]["base"] is None
    base = plan.study.out / "bases" / "plain"
    assert (folder / "checkpoint" / "model.safetensors").samefile(base / "model.safetensors")
    # What is asked differently is written beside the weights, and not into the base.
    assert not (folder / "checkpoint" / "coordexp.json").samefile(base / "coordexp.json")
    lines = load_lines(plan.study.out / "study.jsonl").values()
    assert all(line.figures["token"]["AP"] == 1.0 for line in lines)
    assert run(plan)
    assert told(calls).count("predict") == 4


def test_what_was_trained_is_merged_first_where_the_study_says_so(plan: Plan, calls: Path) -> None:
    plan = write_again(plan, "heldout: 3", "heldout: 3\nmerge: true")
    plan = write_again(plan, "one: {base: plain}", "one: {base: plain, train: false}")
    plan = write_again(plan, f"{{path: {plan.study.out}/base}}", "{path: tiny}")
    assert run(plan)
    assert sorted(told(calls)) == ["merge"] * 2 + ["predict"] * 4 + ["train"] * 2
    runs = plan.study.out / "runs" / "known" / "2"
    two, one = runs / "two" / "seed-0", runs / "one" / "seed-0"
    assert f"merge {two / 'checkpoint'} {two / 'merged'}\n" in calls.read_text("utf-8")
    assert f"predict --model {two / 'merged'} " in calls.read_text("utf-8")
    assert f"predict --model {one / 'checkpoint'} " in calls.read_text("utf-8")
    lines = load_lines(plan.study.out / "study.jsonl").values()
    assert {line.recipe for line in lines if "merge" in line.cost} == {"two"}


def test_a_grafted_base_that_is_shipped_is_copied_with_its_figures(plan: Plan, calls: Path) -> None:
    plan = write_again(plan, f"{{path: {plan.study.out}/base}}", "{path: tiny-grafted}")
    assert run(plan)
    assert told(calls).count("train") == 4
    assert (plan.study.out / "bases" / "plain" / "graft.json").is_file()


def test_every_command_is_said_when_it_begins(plan: Plan, calls: Path) -> None:
    said: list[str] = []
    assert run_study(plan, processes=1, threads=1, say=said.append)
    begun = [line.split("coordexp ", 1)[1] for line in said if ": coordexp " in line]
    assert "".join(f"{line}\n" for line in begun) == calls.read_text("utf-8")
    assert said[1].startswith("known 2 one seed 0: coordexp train")


def test_the_command_that_makes_a_base_is_said_too(plan: Plan, calls: Path) -> None:
    graft = "{path: tiny, graft: {task: known, size: 4, seed: 9}}"
    plan = write_again(plan, f"{{path: {plan.study.out}/base}}", graft)
    said: list[str] = []
    assert run_study(plan, processes=1, threads=1, say=said.append)
    assert said[1].startswith("coordexp vocab graft")
    assert said[1] in calls.read_text("utf-8").replace("vocab", "coordexp vocab")


def test_an_untrained_recipe_with_coord_tokens_needs_a_base_that_has_them(
    plan: Plan, calls: Path
) -> None:
    tokens = "{coord_tokens: {enabled: true}, coord_soft_ce_w1: {enabled: true}}"
    asked = f"one: {{base: plain, train: false, config: {{custom: {tokens}}}}}"
    plan = write_again(plan, "one: {base: plain}", asked)
    plan = write_again(plan, f"{{path: {plan.study.out}/base}}", "{path: tiny}")
    assert not run(plan)
    assert told(calls).count("predict") == 2
    problems = {line.problem for line in load_lines(plan.study.out / "study.jsonl").values()}
    assert any("coord" in str(problem) for problem in problems)


def test_a_grafted_base_is_made_once_from_its_own_task_and_question(
    plan: Plan, calls: Path
) -> None:
    (plan.study.out.parent / "graft.yaml").write_text(
        "training: {max_steps: 3}\ncustom: {coord_soft_ce_w1: {enabled: true}}", "utf-8"
    )
    plan = write_again(
        plan,
        f"{{path: {plan.study.out}/base}}",
        "{path: tiny, graft: {task: new-looks, size: 4, seed: 9, config: graft.yaml}}",
    )
    assert run(plan)
    graft = calls.read_text("utf-8").split("vocab graft", 1)[1]
    bases = plan.study.out / "bases"
    pictures = plan.study.out / "data" / "new-looks" / "4" / "seed-9" / "train.jsonl"
    assert f" {bases / 'plain.asked'} {pictures} {bases / 'plain'}" in graft
    assert f"--config {plan.study.out.parent / 'graft.yaml'}" in graft
    assert "question Find every object." in graft
    assert pictures.is_file()
    assert {path.name for path in bases.iterdir() if path.is_dir()} == {"plain"}
    assert run(plan)
    assert calls.read_text("utf-8").count("vocab graft") == 1


def test_a_base_that_was_lost_is_made_again(plan: Plan, calls: Path) -> None:
    plan = write_again(
        plan,
        f"{{path: {plan.study.out}/base}}",
        "{path: tiny, graft: {task: known, size: 4, seed: 9}}",
    )
    assert run(plan)
    shutil.rmtree(plan.study.out / "bases" / "plain")
    shutil.rmtree(plan.study.out / "runs")
    assert run(plan)
    assert calls.read_text("utf-8").count("vocab graft") == 2


def test_a_base_that_is_not_there_is_named_before_anything_runs(plan: Plan, calls: Path) -> None:
    plan = write_again(plan, f"{plan.study.out}/base", f"{plan.study.out}/bass")
    with pytest.raises(InputError, match=r"bases\.plain\.path: there is no folder .*/bass"):
        run(plan)
    assert not calls.exists()


def test_a_study_runs_on_a_task_of_its_own(plan: Plan, calls: Path, tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
        thing = {"desc": "car", "bbox_2d": [1, 1, 5, 5]}
        row = {"images": ["a.png"], "width": 8, "height": 8, "objects": [thing]}
        rows = [row] * 3
        write_jsonl(tmp_path / name / "all.jsonl", rows)
    cars = f"cars: {{train: {tmp_path}/train/all.jsonl, heldout: {tmp_path}/val/all.jsonl}}"
    plan = write_again(plan, "arms:", f"tasks:\n  {cars}\narms:")
    plan = write_again(plan, "tasks: [known]", "tasks: [known, cars]")
    assert run(plan)
    assert told(calls).count("train") == 8
    config = plan.study.out / "runs" / "cars" / "2" / "one" / "seed-0" / "train.yaml"
    assert "user_prompt" not in config.read_text("utf-8")


@pytest.mark.usefixtures("calls")
def test_an_attempt_that_was_cut_off_is_counted_as_unknown(tmp_path: Path) -> None:
    book = StageBook(tmp_path, StageProcesses({}))
    book.run("train", ["plan"])
    costs = json.loads((tmp_path / "stages.json").read_text("utf-8"))
    costs["train"] |= {"finished": False, "unknown": 1}
    (tmp_path / "stages.json").write_text(json.dumps(costs), "utf-8")
    again = StageBook(tmp_path, StageProcesses({}))
    again.run("train", ["plan"])
    assert again.costs["train"].attempts == 2
    assert again.costs["train"].unknown == 1
    assert again.costs["train"].finished
