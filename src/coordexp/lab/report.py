"""What a study has found so far, as a page and as JSON.

`report.html` and `verdicts.json` in the study's folder. Every run of the plan is listed: done,
failed, or not there yet. A verdict says only what its interval supports.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from coordexp.evaluation.measure.bootstrap import Resampled
from coordexp.files import write_text
from coordexp.lab.compare import Difference, difference, resample_run
from coordexp.lab.execute import load_line
from coordexp.lab.results import Line, arm_name
from coordexp.lab.side_by_side import compared_pictures
from coordexp.lab.study import Cell, Plan
from coordexp.viewing.charts import LineChart, Series, line_chart
from coordexp.viewing.elements import Sheet, Tile
from coordexp.viewing.page import Page

JUDGED = ("AP", "F1@0.5", "F1@mIoU", "mean_best_iou")
"""What verdicts are about; the first one is a study's main figure."""

Arms = Mapping[tuple[str, int], Mapping[str, Mapping[int, Resampled]]]
"""Runs by (task, size), recipe and answer, and seed."""

Curve = list[tuple[float, float]]
"""Training pictures, and mean AP over the seeds."""


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
    """Return the runs that ended well, resampled; one that is not trained counts for every seed."""
    arms: defaultdict[tuple[str, int], defaultdict[str, dict[int, Resampled]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for cell, line in lines.items():
        if line is None or line.problem is not None:
            continue
        for answer in line.figures:
            predictions = plan.study.out / "runs" / cell.folder / answer / "predictions.jsonl"
            name = arm_name(cell.recipe, answer)
            found = resample_run(predictions)
            for seed in _seeds_of(plan, cell):
                arms[cell.task, cell.size][name][seed] = found
    return arms


def _seeds_of(plan: Plan, cell: Cell) -> Iterable[int]:
    """Return the seeds that a run stands for: all of them where no seed had a part in it."""
    if plan.study.recipes[cell.recipe].train:
        return (cell.seed,)
    beside = [other for other in plan.cells if (other.task, other.size) == (cell.task, cell.size)]
    return {other.seed for other in beside}


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
        "pictures": list(compared_pictures(plan, lines)),
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
    for task, arms in ap_by_size(lines).items():
        series = [Series(arm, points, noisy=False) for arm, points in arms.items()]
        yield line_chart(f"AP on {task}", series, x_name="training picture")


def ap_by_size(lines: Mapping[Cell, Line | None]) -> dict[str, dict[str, Curve]]:
    """Return a curve for every arm of every task: training pictures, and mean AP over the seeds.

    A task with one size has none: a point is no curve. Runs that failed are left out, and so are
    recipes that are not trained where they were asked at one size only.
    """
    found: defaultdict[str, defaultdict[str, defaultdict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for cell, line in lines.items():
        if line is None or line.problem is not None:
            continue
        for answer, figures in line.figures.items():
            found[cell.task][arm_name(cell.recipe, answer)][cell.size].append(figures["AP"])
    return {
        task: curves
        for task, arms in found.items()
        if (
            curves := {
                arm: [(float(size), float(np.mean(aps))) for size, aps in sorted(sizes.items())]
                for arm, sizes in arms.items()
                if len(sizes) > 1
            }
        )
    }


COLUMNS = {
    "AP": "AP",
    "AP75": "AP75",
    "AP90": "AP90",
    "F1@0.5": "F1@0.5",
    "F1@0.95": "F1@0.95",
    "F1@mIoU": "F1, mean",
    "mean_best_iou_any_class": "best IoU, any class",
    "mean_bin_error": "bin error",
}


def _run_sheet(lines: Mapping[Cell, Line | None]) -> Sheet:
    head = ["run", *COLUMNS.values(), "CPU s", "s"]
    return Sheet("", head, [row for cell, line in lines.items() for row in _run_rows(cell, line)])


def _run_rows(cell: Cell, line: Line | None) -> Iterator[list[str]]:
    """Yield a row for each way in which a run was asked."""
    name = f"{cell.task} {cell.size} {cell.recipe} seed {cell.seed}"
    empty = [""] * (len(COLUMNS) + 1)
    if line is None:
        yield [name, "not there yet", *empty]
    elif line.problem is not None:
        yield [name, f"failed: {line.problem.splitlines()[0]}", *empty]
    else:
        for answer, figures in line.figures.items():
            asked = arm_name(cell.recipe, answer)
            shown = ["" if figures[key] is None else f"{figures[key]:.3f}" for key in COLUMNS]
            yield [
                f"{cell.task} {cell.size} {asked} seed {cell.seed}",
                *shown,
                _seconds(line, answer, "cpu_seconds"),
                _seconds(line, answer, "wall_seconds"),
            ]


def _seconds(line: Line, answer: str, kind: str) -> str:
    """Return what training, and asking in one way, took; nothing where that was not noted."""
    names = ("train", "merge", f"predict {answer}")
    stages = [line.cost[name] for name in names if name in line.cost]
    known = all(kind in stage for stage in stages)
    return f"{sum(stage[kind] for stage in stages):.0f}" if known else ""
