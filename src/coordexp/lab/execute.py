"""One run of a study: pictures, training, answers, figures, one line.

    <out>/data/<task>/<size>/seed-<n>/     pictures, shared by all recipes
    <out>/bases/<name>/                    a base, shared by all runs
    <out>/runs/<task>/<size>/<recipe>/seed-<n>/
        train.yaml  checkpoint/  log.txt  stages.json
        <answer>/predictions.jsonl  <answer>/metrics.json
        run.json                           the line: it is there when the run has ended

A run that was killed goes on when it is started again: finished stages are not repeated, and
training and predicting go on where they were. Answers come from the adapter on its base; nothing is
merged, which changes figures by rounding alone.
"""

import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from coordexp.config.yaml_file import YamlMapping, merged
from coordexp.errors import CoordExpError
from coordexp.files import whole_directory, write_text
from coordexp.lab.figures import score_run
from coordexp.lab.results import Line, recipe_digest
from coordexp.lab.stages import StageBook
from coordexp.lab.study import TINY, Base, Cell, Plan
from coordexp.lab.tasks import TASKS, write_task
from coordexp.quickstart.pipeline import write_shipped_base

LINE_NAME = "run.json"


def prepare_bases(plan: Plan) -> None:
    """Write the bases that recipes of a plan start from, those that are not there yet.

    Raises:
        CoordExpError: If one cannot be expanded.
    """
    wanted = {plan.study.recipes[cell.recipe].base for cell in plan.cells}
    for name in sorted(wanted):
        base = plan.study.bases[name]
        folder = base_folder(plan, name)
        if folder.exists() or not (base.expand or base.path == TINY):
            continue
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_base(base, folder)


def _write_base(base: Base, folder: Path) -> None:
    if not base.expand:
        with whole_directory(folder, overwrite=False) as unfinished:
            write_shipped_base(unfinished)
        return
    shipped = folder.with_name(folder.name + ".shipped")
    source = Path(base.path)
    if base.path == TINY:
        shutil.rmtree(shipped, ignore_errors=True)
        write_shipped_base(shipped)
        source = shipped
    book = StageBook(folder.parent, os.environ)
    book.run(f"expand {folder.name}", ["vocab", "expand", source, folder])
    shutil.rmtree(shipped, ignore_errors=True)


def base_folder(plan: Plan, name: str) -> Path:
    """Return where a base of a plan lies."""
    base = plan.study.bases[name]
    if base.expand or base.path == TINY:
        return plan.study.out / "bases" / name
    return Path(base.path)


def prepare_data(plan: Plan, cell: Cell) -> Path:
    """Return the folder of a cell's pictures, painted where it is not there yet."""
    folder = plan.study.out / "data" / cell.task / str(cell.size) / f"seed-{cell.seed}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_task(
            folder,
            TASKS[cell.task],
            train=cell.size,
            heldout=plan.study.heldout,
            seed=cell.seed,
        )
    return folder


def execute(plan: Plan, cell: Cell, *, threads: int) -> Line:
    """Run a cell to its end and return its line, which is in its folder then too.

    A run that fails has a line that says why; it is tried again by the next call.
    """
    folder = plan.study.out / "runs" / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    book = StageBook(folder, environment(threads))
    digest = recipe_digest(plan.configs[cell.recipe])
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
        digest=digest,
        commit=commit(),
        cost={
            name: {"cpu_seconds": cost.cpu_seconds, "peak_mb": cost.peak_mb}
            | ({"unknown_attempts": cost.unknown} if cost.unknown else {})
            for name, cost in book.costs.items()
        },
        figures=figures,
        problem=problem,
    )
    write_text(folder / LINE_NAME, line.to_json() + "\n")
    return line


def _answered(plan: Plan, cell: Cell, folder: Path, book: StageBook) -> dict[str, Any]:
    data = prepare_data(plan, cell)
    config = run_config(plan, cell, folder=folder, data=data)
    write_text(folder / "train.yaml", yaml.safe_dump(config, sort_keys=False))
    book.run("train", ["train", "--config", folder / "train.yaml"])
    figures: dict[str, Any] = {}
    for answer in plan.study.recipes[cell.recipe].answers:
        out = folder / answer
        predictions = out / "predictions.jsonl"
        words: list[str | Path] = [
            "predict",
            "--model",
            folder / "checkpoint",
            "--data",
            data / "heldout.jsonl",
        ]
        words += ["--out", predictions, "--coord-decode", answer]
        words += ["--batch-size", str(plan.study.batch_size)]
        words += ["--max-new-tokens", str(plan.study.max_new_tokens)]
        book.run(f"predict {answer}", words)
        figures[answer] = score_run(predictions, out)
    return figures


def run_config(plan: Plan, cell: Cell, *, folder: Path, data: Path) -> YamlMapping:
    """Return the whole configuration of a cell's training."""
    own: YamlMapping = {
        "model": {"path": str(base_folder(plan, plan.study.recipes[cell.recipe].base))},
        "data": {"train": str(data / "train.jsonl")},
        "training": {"output_dir": str(folder / "checkpoint"), "seed": cell.seed},
        "custom": {"user_prompt": TASKS[cell.task].prompt},
    }
    return merged(plan.configs[cell.recipe], own)


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a stage that may use some threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "TOKENIZERS_PARALLELISM": "false"}


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
