"""What a study has found so far, as a page and as JSON.

`report.html` and `verdicts.json` in the study's folder. Every run of the plan is listed: done,
failed, or not there yet. A verdict says only what its interval supports.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from coordexp.evaluation.measure.bootstrap import Resampled
from coordexp.files import write_text
from coordexp.lab.compare import Difference, difference, resample_run
from coordexp.lab.execute import load_line
from coordexp.lab.results import Line
from coordexp.lab.study import Cell, Plan
from coordexp.viewing.charts import LineChart, Series, line_chart
from coordexp.viewing.elements import Sheet, Tile
from coordexp.viewing.page import Page

JUDGED = ("AP", "F1@0.5", "F1@mIoU", "mean_best_iou")
"""What verdicts are about; the first one is a study's main figure."""

Arms = Mapping[tuple[str, int], Mapping[str, Mapping[int, Resampled]]]
"""Runs by (task, size), recipe and answer, and seed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison.

    Args:
        task: Of both.
        size: Training pictures of both.
        recipe: The one that is judged; after a slash the way of answering, unless it is `token`.
        against: The other one.
        difference: What was found.
    """

    task: str
    size: int
    recipe: str
    against: str
    difference: Difference


def write_report(plan: Plan) -> Path:
    """Write the page and the verdicts of a study; return the page's path."""
    out = plan.study.out
    lines = {cell: load_line(out / "runs" / cell.folder) for cell in plan.cells}
    verdicts = list(judge(plan, load_arms(plan, lines)))
    rows = [asdict(verdict) | {"words": verdict.difference.words} for verdict in verdicts]
    write_text(out / "verdicts.json", json.dumps(rows, indent=1) + "\n")
    page = _page(plan, lines, verdicts)
    page.write(out / "report.html")
    return out / "report.html"


def load_arms(plan: Plan, lines: Mapping[Cell, Line | None]) -> Arms:
    """Return the runs that ended well, resampled."""
    arms: defaultdict[tuple[str, int], defaultdict[str, dict[int, Resampled]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for cell, line in lines.items():
        if line is None or line.problem is not None:
            continue
        for answer in line.figures:
            predictions = plan.study.out / "runs" / cell.folder / answer / "predictions.jsonl"
            name = cell.recipe if answer == "token" else f"{cell.recipe}/{answer}"
            arms[cell.task, cell.size][name][cell.seed] = resample_run(predictions)
    return arms


def judge(plan: Plan, arms: Arms) -> Iterator[Verdict]:
    """Yield a verdict for every recipe against each of `against`, by task, size and figure."""
    for (task, size), recipes in arms.items():
        for other in plan.study.against:
            for recipe in recipes:
                if recipe == other or other not in recipes:
                    continue
                for figure in JUDGED:
                    found = difference(recipes[recipe], recipes[other], figure)
                    if found is not None:
                        yield Verdict(task, size, recipe, other, found)


def _page(plan: Plan, lines: Mapping[Cell, Line | None], verdicts: list[Verdict]) -> Page:
    values = {
        "counts": _tiles(lines),
        "verdicts": [_verdict_sheet(verdicts, figure) for figure in JUDGED],
        "curves": list(_curves(lines)),
        "runs": _run_sheet(lines),
    }
    subtitle = "Recipes, seeds and tasks, as ordinary runs."
    return Page(__name__, "study.html.j2", f"Study {plan.name}", subtitle, values)


def _tiles(lines: Mapping[Cell, Line | None]) -> list[Tile]:
    ended = [line for line in lines.values() if line is not None]
    failed = [line for line in ended if line.problem is not None]
    hours = sum(cost["cpu_seconds"] for line in ended for cost in line.cost.values()) / 3600
    return [
        Tile("Planned", str(len(lines)), "runs"),
        Tile("Done", str(len(ended) - len(failed)), "with figures"),
        Tile("Failed", str(len(failed)), "listed below", "warn" if failed else "plain"),
        Tile("CPU hours", f"{hours:.1f}", "training and predicting"),
    ]


def _verdict_sheet(verdicts: list[Verdict], figure: str) -> Sheet:
    rows = [
        [
            f"{verdict.task} {verdict.size}: {verdict.recipe} against {verdict.against}",
            f"{found.this:.3f}",
            f"{found.other:.3f}",
            f"{found.this - found.other:+.3f}",
            "" if found.interval is None else "{:+.3f} to {:+.3f}".format(*found.interval),
            str(found.seeds),
            found.words,
        ]
        for verdict in verdicts
        if (found := verdict.difference).figure == figure
    ]
    head = ["comparison", "this", "other", "difference", "interval", "seeds", "verdict"]
    return Sheet(figure, head, rows)


def _curves(lines: Mapping[Cell, Line | None]) -> Iterator[LineChart]:
    values: defaultdict[str, defaultdict[str, defaultdict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for cell, line in lines.items():
        if line is not None and line.problem is None:
            values[cell.task][cell.recipe][cell.size].append(line.figures["token"]["AP"])
    for task, recipes in values.items():
        series = [
            Series(
                recipe,
                [(float(size), float(np.mean(found))) for size, found in sorted(sizes.items())],
                noisy=False,
            )
            for recipe, sizes in recipes.items()
        ]
        yield line_chart(f"AP on {task}", series, x_name="training picture")


def _run_sheet(lines: Mapping[Cell, Line | None]) -> Sheet:
    head = ["run", "AP", "AP75", "AP90", "F1@0.5", "best IoU, any class", "bin error", "CPU s"]
    return Sheet("", head, [_run_row(cell, line) for cell, line in lines.items()])


def _run_row(cell: Cell, line: Line | None) -> list[str]:
    name = f"{cell.task} {cell.size} {cell.recipe} seed {cell.seed}"
    if line is None:
        return [name, "not there yet", *[""] * 6]
    if line.problem is not None:
        return [name, f"failed: {line.problem.splitlines()[0]}", *[""] * 6]
    figures = (
        line.figures["token"] if "token" in line.figures else next(iter(line.figures.values()))
    )
    names = ("AP", "AP75", "AP90", "F1@0.5", "mean_best_iou_any_class", "mean_bin_error")
    shown = ["" if figures[key] is None else f"{figures[key]:.3f}" for key in names]
    return [name, *shown, f"{sum(cost['cpu_seconds'] for cost in line.cost.values()):.0f}"]
