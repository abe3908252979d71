"""A training run as a page: loss, rates, boxes, speed and memory, out of its log alone.

Everything comes from `train_log.jsonl` and, where checkpoints were asked for boxes, from
`detection/`, so that a page can be had of a run that is under way, was stopped, or ran elsewhere.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from coordexp.errors import InputError
from coordexp.evaluation.measure.predictions import read_predictions
from coordexp.evaluation.page.page import shot, shown
from coordexp.files import write_text
from coordexp.inspection.survey.training_curves import (
    Log,
    Points,
    load_log,
    log_curves,
    without_idle,
)
from coordexp.training.watch.detection import BEST, DETECTION, SUMMARY_NAME
from coordexp.training.watch.progress import LOG_NAME
from coordexp.viewing.charts import LineChart, Series, line_chart
from coordexp.viewing.elements import Shot, Tile
from coordexp.viewing.page import Page

REPORT_NAME = "train_report.html"
EXAMPLES_SHOWN = 8

_EVAL, _BOXES = "eval_", "eval_detection/"
_GROUPS = {
    "grad_norm/": ("Gradient norms", "by group of parameters, before clipping"),
    "offset_norm/": ("Offsets", "mean length of a row; begins at 0"),
}
_SPEED = (
    ("Peak memory", "the most so far, GB", ("speed/peak_memory_gb",)),
    ("Records a second", "over all ranks", ("speed/records_per_second",)),
    (
        "Seconds of a step",
        "and what they are spent on",
        ("speed/step_seconds", "speed/data_seconds", "speed/forward_seconds"),
    ),
)


class Examples(NamedTuple):
    """Answers of a checkpoint.

    Args:
        told: Which ones; what would make some, where there are none.
        rows: Pictures, each with what is true and what was said.
    """

    told: str
    rows: Sequence[Sequence[Shot]]


def write_train_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run and return where it is.

    Args:
        run: The run's directory.
        out: The page; None for `train_report.html` in the run.

    Raises:
        InputError: If the run has no log, or one that is none.
    """
    path = out or run / REPORT_NAME
    write_text(path, train_report(run).render())
    return path


def train_report(run: Path) -> Page:
    """Return the page of a run.

    Raises:
        InputError: If the run has no log, or one that is none.
    """
    if not (run / LOG_NAME).is_file():
        raise InputError(
            f"{run / LOG_NAME}: not there; expected the output_dir of a coordexp train that has "
            "logged a step"
        )
    log = load_log(run / LOG_NAME)
    held_out = {
        key.removeprefix(_EVAL): points
        for key, points in log.items()
        if key.startswith(_EVAL) and not key.startswith(_BOXES)
    }
    named = {"training": log, **({"held out": without_idle(held_out)} if held_out else {})}
    values = {
        "tiles": _tiles(log),
        "curves": log_curves(named),
        "boxes": _box_charts(log),
        "groups": [chart for prefix in _GROUPS if (chart := _group_chart(log, prefix))],
        "speed": _speed_charts(log),
        "examples": _examples(run),
    }
    steps = f"{_last_step(log):,.0f} steps" if log else "nothing logged yet"
    title = f"Training of {run.resolve().name}"
    return Page(__name__, "train_report.html.j2", title, f"{steps}.", values)


def _tiles(log: Log) -> list[Tile]:
    tiles = [Tile("Loss", _last(log, "loss"), "last line of the log")]
    if held_out := log.get("eval_loss"):
        step, least = min(held_out, key=lambda point: point[1])
        tiles.append(Tile("Held-out loss", shown(least), f"lowest, at step {step:,.0f}"))
    if found := log.get(f"{_BOXES}AP"):
        step, most = max(found, key=lambda point: (point[1], -point[0]))
        tiles.append(Tile("AP", shown(most), f"highest, at step {step:,.0f}"))
    if seconds := log.get("train_runtime"):
        tiles.append(Tile("Time", f"{seconds[-1][1] / 60:,.1f} min", "since the last start"))
    if memory := log.get("speed/peak_memory_gb"):
        tiles.append(Tile("Memory", f"{memory[-1][1]:.2f} GB", "the most on any rank"))
    return tiles


def _last(log: Log, key: str) -> str:
    return shown(log[key][-1][1]) if log.get(key) else shown(None)


def _last_step(log: Log) -> float:
    return max(points[-1][0] for points in log.values())


def _box_charts(log: Log) -> list[LineChart]:
    names = [("AP", "AP50", "AP75"), ("F1", "parsed")]
    titles = ["Average precision", "F1@0.5 and answers parsed whole"]
    charts = []
    for title, keys in zip(titles, names, strict=True):
        series = [
            Series(key, points, noisy=False) for key in keys if (points := log.get(_BOXES + key))
        ]
        if series:
            charts.append(line_chart(title, series, x_name="step", remark="held-out records"))
    return charts


def _group_chart(log: Log, prefix: str) -> LineChart | None:
    title, remark = _GROUPS[prefix]
    found = [(key.removeprefix(prefix), log[key]) for key in log if key.startswith(prefix)]
    series = [Series(name, points) for name, points in found]
    return line_chart(title, series, x_name="step", remark=remark) if series else None


def _speed_charts(log: Log) -> list[LineChart]:
    charts = []
    for title, remark, keys in _SPEED:
        known: list[tuple[str, Points]] = [(key, log[key]) for key in keys if key in log]
        series = [Series(_words(key), points, noisy=False) for key, points in known]
        if series:
            charts.append(line_chart(title, series, x_name="step", remark=remark))
    return charts


def _words(key: str) -> str:
    return key.removeprefix("speed/").removesuffix("_seconds").replace("_", " ")


def _examples(run: Path) -> Examples:
    """Return answers of the best step that was asked, else of the last."""
    steps = {
        int(name[1]): path.parent
        for path in (run / DETECTION).glob(f"step-*/{SUMMARY_NAME}")
        if (name := re.fullmatch(r"step-(\d+)", path.parent.name))
    }
    if not steps:
        return Examples(
            "No checkpoint was asked for boxes; training.detection_eval.steps does that.", []
        )
    best = run / BEST / SUMMARY_NAME
    step = json.loads(best.read_text(encoding="utf-8"))["step"] if best.is_file() else max(steps)
    folder = steps.get(step, steps[max(steps)])
    rows = read_predictions(folder / "predictions.jsonl")[:EXAMPLES_SHOWN]
    shots = [
        picture
        for row in rows
        if (picture := shot(row, folder, f"{row.image}: {len(row.predicted)} predicted"))
    ]
    told = f"The first {len(shots)} records that the checkpoint of {folder.name} was asked about."
    return Examples(told, [[picture] for picture in shots])
