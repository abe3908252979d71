"""The lab around a stand-in for `coordexp`: what is run, kept, repeated and reported."""

import json
from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.lab import execute
from coordexp.lab.cells import run_study
from coordexp.lab.report import write_report
from coordexp.lab.results import load_lines
from coordexp.lab.stages import StageBook
from coordexp.lab.study import Plan, load_plan

pytestmark = pytest.mark.slow

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


@pytest.mark.usefixtures("calls")
def test_an_attempt_that_was_cut_off_is_counted_as_unknown(tmp_path: Path) -> None:
    book = StageBook(tmp_path, {})
    book.run("train", ["merge"])
    costs = json.loads((tmp_path / "stages.json").read_text("utf-8"))
    costs["train"] |= {"finished": False, "unknown": 1}
    (tmp_path / "stages.json").write_text(json.dumps(costs), "utf-8")
    again = StageBook(tmp_path, {})
    again.run("train", ["merge"])
    assert again.costs["train"].attempts == 2
    assert again.costs["train"].unknown == 1
    assert again.costs["train"].finished
