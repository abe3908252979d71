"""The quickstart: the whole product on handwritten digits, as the commands that a user would type.

    out/data/            digit scenes: train.jsonl, heldout.jsonl, images/
    out/base/            the tiny base, answering in plain integers
    out/base-coord/      the same with coord tokens
    out/train.yaml       the run's configuration
    out/before/          what the base says of the held-out scenes
    out/after/           checkpoint/, model/ (merged), and what it says
    out/report.html      the page

Only scenes and report are made by code of the quickstart's own; every other stage is a `coordexp`
command that reads the files which the one before it wrote.
"""

import json
import shutil
import time
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import InputError
from coordexp.files import write_text
from coordexp.inference.run.predict import load_predictor
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_tokenizer
from coordexp.quickstart.beliefs import write_beliefs
from coordexp.quickstart.report import QuickstartReportInputs, Stage, write_quickstart_report
from coordexp.quickstart.scenes import write_scenes
from coordexp.quickstart.stages import StageRunner
from coordexp.rendering.style import RenderingStyle, style_to_json

TRAIN_SCENES, HELDOUT_SCENES = 3600, 200
TRAIN_SEED, HELDOUT_SEED = 1, 2
LONGEST_ANSWER = 320
BATCH_SIZE = 20
USER_PROMPT = "Find every digit."
BELIEF_RECORDS = (0, 1, 2)
MARKER = "quickstart.json"
TINY_BASE = resources.files("coordexp.quickstart") / "tiny_base"
RECIPE = str(resources.files("coordexp.quickstart") / "quickstart.yaml")


def run_quickstart(out: Path) -> None:
    """Run every stage into a directory and print where the report is.

    Raises:
        InputError: If the directory holds something that no quickstart wrote.
    """
    console = Console()
    _make_room(out)
    runner = StageRunner(console)
    train, heldout = _write_data(out, runner, console)
    base, expanded = out / "base", out / "base-coord"
    before, after = out / "before", out / "after"
    write_shipped_base(base)
    _answer(runner, "ask the base", base, heldout, before)
    runner.run("add coord tokens", ["vocab", "expand", base, expanded])
    _write_config(out, expanded, train, after / "checkpoint")
    runner.run("train", ["train", "--config", out / "train.yaml"])
    runner.run("merge", ["merge", after / "checkpoint", after / "model"])
    _answer(runner, "ask the tuned model", after / "model", heldout, after)
    write_beliefs(
        load_predictor(after / "model"),
        heldout,
        after / "beliefs.json",
        indices=BELIEF_RECORDS,
        objects=1,
    )
    _report(out, runner.stages)
    _print_summary(console, out, runner.stages)


def _make_room(out: Path) -> None:
    if out.exists():
        if out.is_file() or (any(out.iterdir()) and not (out / MARKER).exists()):
            raise InputError(f"{out}: holds something that is no quickstart; choose another --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    write_text(out / MARKER, json.dumps({"made_by": "coordexp quickstart"}) + "\n")


def _write_data(out: Path, runner: StageRunner, console: Console) -> tuple[Path, Path]:
    began = time.monotonic()
    count = TRAIN_SCENES + HELDOUT_SCENES
    console.print(f"[bold]compose {count} digit scenes[/bold]", highlight=False)
    train = write_scenes(out / "data", split="train", count=TRAIN_SCENES, seed=TRAIN_SEED)
    heldout = write_scenes(out / "data", split="heldout", count=HELDOUT_SCENES, seed=HELDOUT_SEED)
    runner.stages.append(
        Stage("compose scenes", time.monotonic() - began, peak_mb=None, command="")
    )
    return train, heldout


def write_shipped_base(base: Path) -> None:
    """Copy the tiny base, and write the `coordexp.json` that says it answers in plain integers."""
    with resources.as_file(TINY_BASE) as shipped:
        shutil.copytree(shipped, base, dirs_exist_ok=True)
    style = RenderingStyle(
        system_prompt=None,
        user_prompt=USER_PROMPT,
        json_format="standard",
        object_ordering="sorted",
        coord_tokens=False,
        alphabet=SPEC_ALPHABET,
        min_pixels=None,
        max_pixels=None,
    )
    weights = WeightsCard(
        base=None,
        tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
        coord_ids=None,
        coord_rows=None,
        tie_head=None,
    )
    write_card(base, style=style_to_json(style), weights=weights)


def _write_config(out: Path, model: Path, train: Path, checkpoint: Path) -> None:
    lines = [
        f"extends: {json.dumps(RECIPE)}",
        f"model: {{path: {json.dumps(str(model))}}}",
        f"data: {{train: {json.dumps(str(train))}}}",
        f"training: {{output_dir: {json.dumps(str(checkpoint))}}}",
    ]
    write_text(out / "train.yaml", "\n".join(lines) + "\n")


def _answer(runner: StageRunner, name: str, model: Path, data: Path, out: Path) -> None:
    predictions = out / "predictions.jsonl"
    sizes = ["--batch-size", str(BATCH_SIZE), "--max-new-tokens", str(LONGEST_ANSWER)]
    runner.run(name, ["predict", "--model", model, "--data", data, "--out", predictions, *sizes])
    runner.run(f"{name}: score", ["evaluate", predictions, "--out", out])


def _report(out: Path, stages: list[Stage]) -> None:
    notes = [
        "Before: the tiny base that ships with CoordExp, answering in plain integers as it was "
        "pretrained to. After: the same base with coord tokens, tuned by stage 1 and merged. Both "
        "were asked for the same scenes, and scored in the same way. No digit, and no part of a "
        "photo, that pretraining or training saw is in them."
    ]
    write_quickstart_report(
        out / "report.html",
        QuickstartReportInputs(
            title="A model that learned to point",
            before=out / "before",
            after=out / "after",
            train_log=out / "after" / "checkpoint" / "train_log.jsonl",
            distributions=out / "after" / "beliefs.json",
            stages=stages,
            notes=notes,
        ),
    )


def _print_summary(console: Console, out: Path, stages: list[Stage]) -> None:
    table = Table(title=f"{HELDOUT_SCENES} held-out scenes")
    for column in ("", "AP", "AP50", "AP75", "F1@0.5"):
        table.add_column(column, justify="right" if column else "left")
    for name in ("before", "after"):
        metrics: dict[str, Any] = json.loads((out / name / "metrics.json").read_text("utf-8"))
        bbox = metrics["bbox"]
        figures = (bbox["AP"], bbox["AP50"], bbox["AP75"], metrics["f1"]["F1@0.5"])
        table.add_row(name, *(f"{figure:.3f}" for figure in figures))
    console.print(table)
    minutes = sum(stage.seconds for stage in stages) / 60
    console.print(f"{minutes:.1f} minutes. The report: [bold]{out / 'report.html'}[/bold]")
