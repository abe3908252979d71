"""One run of a study: pictures, training, answers, figures, one line.

    <out>/data/<task>/<size>/seed-<n>/     pictures, shared by all recipes
    <out>/bases/<name>/                    a base, shared by all runs
    <out>/runs/<task>/<size>/<recipe>/seed-<n>/
        train.yaml  checkpoint/  merged/  log.txt  stages.json
        <answer>/predictions.jsonl  <answer>/metrics.json
        run.json                           the line: it is there when the run has ended

A run that was killed goes on when it is started again: finished stages are not repeated, and
training and predicting go on where they were. Answers come from the adapter on its base, or where
the study says so from what `merged/` holds, which changes figures by rounding alone. Where a recipe
is not trained, `checkpoint/` is the base itself.
"""

import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from coordexp.config.load import load_config
from coordexp.config.yaml_file import YamlMapping, merged
from coordexp.errors import CoordExpError
from coordexp.files import write_text
from coordexp.lab.figures import score_run
from coordexp.lab.groundwork import asked, base_folder, prepare_data
from coordexp.lab.results import Line
from coordexp.lab.stages import StageBook, StageProcesses
from coordexp.lab.study import Cell, Plan
from coordexp.lab.untrained import write_untrained

LINE_NAME = "run.json"


def execute(plan: Plan, cell: Cell, runner: StageProcesses, *, say: Callable[[str], None]) -> Line:
    """Run a cell to its end and return its line, which is in its folder then too.

    A run that fails has a line that says why; it is tried again by the next call.

    Args:
        plan: The study.
        cell: The run.
        runner: Starts its processes.
        say: Takes each command of it when it begins.
    """
    folder = plan.study.out / "runs" / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    book = StageBook(folder, runner, say=say)
    try:
        figures = _answered(plan, cell, folder, book)
        problem = None
    except CoordExpError as error:
        figures, problem = {}, str(error)
    line = Line(
        study=plan.name,
        task=cell.task,
        size=cell.size,
        recipe=cell.recipe,
        seed=cell.seed,
        base=plan.study.recipes[cell.recipe].base,
        heldout=plan.study.heldout,
        digest=plan.digest(cell.recipe),
        commit=commit(),
        cost={
            name: {
                "cpu_seconds": cost.cpu_seconds,
                "wall_seconds": cost.wall_seconds,
                "peak_mb": cost.peak_mb,
            }
            | ({"unknown_attempts": cost.unknown} if cost.unknown else {})
            for name, cost in book.costs.items()
        },
        figures=figures,
        problem=problem,
    )
    write_text(folder / LINE_NAME, line.to_json() + "\n")
    return line


def _answered(plan: Plan, cell: Cell, folder: Path, book: StageBook) -> dict[str, Any]:
    data = prepare_data(plan, cell.task, size=cell.size, seed=cell.seed)
    config = run_config(plan, cell, folder=folder, data=data)
    write_text(folder / "train.yaml", yaml.safe_dump(config, sort_keys=False))
    model = _model(plan, cell, folder, book)
    figures: dict[str, Any] = {}
    for answer in plan.study.recipes[cell.recipe].answers:
        out = folder / answer
        predictions = out / "predictions.jsonl"
        words: list[str | Path] = [
            "predict",
            "--model",
            model,
            "--data",
            data / "heldout.jsonl",
        ]
        words += ["--out", predictions, "--coord-decode", answer]
        words += ["--batch-size", str(plan.study.batch_size)]
        words += ["--max-new-tokens", str(plan.study.max_new_tokens)]
        book.run(f"predict {answer}", words)
        figures[answer] = score_run(predictions, out)
    return figures


def _model(plan: Plan, cell: Cell, folder: Path, book: StageBook) -> Path:
    """Return what a run asks, made where it is not there yet."""
    checkpoint, config = folder / "checkpoint", folder / "train.yaml"
    if not plan.study.recipes[cell.recipe].train:
        if not checkpoint.exists():
            write_untrained(load_config(config), checkpoint)
        return checkpoint
    book.run("train", ["train", "--config", config])
    # Where all weights learned there is no adapter, and nothing to merge.
    if not plan.study.merge or not (checkpoint / "adapter_config.json").exists():
        return checkpoint
    book.run("merge", ["merge", checkpoint, folder / "merged"], makes=folder / "merged")
    return folder / "merged"


def run_config(plan: Plan, cell: Cell, *, folder: Path, data: Path) -> YamlMapping:
    """Return the whole configuration of a cell's training."""
    own: YamlMapping = {
        "model": {"path": str(base_folder(plan, plan.study.recipes[cell.recipe].base))},
        "data": {"train": str(data / "train.jsonl")},
        "training": {"output_dir": str(folder / "checkpoint"), "seed": cell.seed},
    }
    return merged(plan.configs[cell.recipe], merged(own, asked(plan, cell.task)))


def commit() -> str | None:
    """Return the commit of the source that runs, `+` after it where files differ; None if none."""
    here = str(resources.files("coordexp"))
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _git(here: str, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", here, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def load_line(folder: Path) -> Line | None:
    """Return the line of a run's folder, None where it has not ended."""
    path = folder / LINE_NAME
    return Line.from_json(path.read_text(encoding="utf-8")) if path.exists() else None
