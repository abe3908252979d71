"""The quickstart's page: what was trained, how well it points, how to do the same on own data.

Everything is read from files that the stages wrote, so that the page can be made again alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from coordexp.errors import InputError
from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.evaluation.page.page import class_bars, shot, shown, shown_share
from coordexp.quickstart.curves import training_curves
from coordexp.viewing.charts import BarChart
from coordexp.viewing.distributions import BeliefChart, EdgeBelief, bin_distribution
from coordexp.viewing.elements import Sheet, Shot, Tile, Tone
from coordexp.viewing.page import Page

SCENES, BELIEFS = 8, 6

HEADLINE = (
    ("AP", ("bbox", "AP"), "box AP at IoU 0.50 to 0.95"),
    ("AP50", ("bbox", "AP50"), "loose boxes count"),
    ("AP75", ("bbox", "AP75"), "tight boxes count"),
    ("F1@0.5", ("f1", "F1@0.5"), "needs no scores"),
    ("Mean best IoU", ("f1", "mean_best_iou"), "of each true object"),
    ("Parsed whole", ("parse", "ok_share"), "of all answers"),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage as it ran.

    Args:
        name: What it did.
        seconds: How long.
        peak_mb: The most memory it held, where that was measured.
        command: What repeats it on one's own data.
    """

    name: str
    seconds: float
    peak_mb: float | None
    command: str


@dataclass(frozen=True, slots=True)
class QuickstartReportInputs:
    """The files and values that the page shows.

    Args:
        title: Of the page.
        after: Folder with the trained model's `predictions.jsonl` and `metrics.json`.
        train_log: JSONL, one object per logged step.
        before: The same as `after`, of the base, where there is one.
        distributions: JSON list of distributions over bins, where they were kept.
        stages: In order.
        notes: What a reader must know to judge the figures.
    """

    title: str
    after: Path
    train_log: Path
    before: Path | None = None
    distributions: Path | None = None
    stages: Sequence[Stage] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def write_quickstart_report(out_html: Path, inputs: QuickstartReportInputs) -> None:
    """Write the page; it appears under its name when it is complete.

    Raises:
        InputError: If a file cannot be read.
    """
    after = _load_side(inputs.after)
    before = _load_side(inputs.before) if inputs.before else None
    values = {
        "notes": inputs.notes,
        "headline": _headline(before, after),
        "warnings": _warnings(before, after),
        "figures": _figure_sheet(before, after),
        "scenes": _scenes(before, after),
        "curves": training_curves(inputs.train_log),
        "beliefs": _beliefs(inputs.distributions) if inputs.distributions else None,
        "classes": _classes(after.metrics),
        "costs": _costs(inputs.stages) if inputs.stages else None,
        "steps": [(stage.name, stage.command) for stage in inputs.stages if stage.command],
    }
    subtitle = (
        f"{len(after.predictions):,} scenes that training never saw, "
        f"{after.metrics['objects']['true']:,} objects in them."
    )
    Page(__name__, "quickstart.html.j2", inputs.title, subtitle, values).write(out_html)


class _Side(NamedTuple):
    folder: Path
    predictions: tuple[Prediction, ...]
    metrics: Mapping[str, Any]


class _Scenes(NamedTuple):
    rows: Sequence[Sequence[Shot]]
    columns: Sequence[str]
    missing: str


def _load_side(folder: Path) -> _Side:
    metrics = _load_json(folder / "metrics.json")
    return _Side(folder, read_predictions(folder / "predictions.jsonl"), metrics)


def _load_json(path: Path) -> Any:  # noqa: ANN401 - JSON that our own stages wrote
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None


def _headline(before: _Side | None, after: _Side) -> list[Tile]:
    tiles = []
    for name, (block, key), remark in HEADLINE:
        new = after.metrics[block][key]
        old = before.metrics[block][key] if before else None
        show = shown_share if block == "parse" else shown
        tone = _tone(old, new)
        tiles.append(Tile(name, show(new), f"before: {show(old)}" if before else remark, tone))
    return tiles


def _named(before: _Side | None, after: _Side) -> list[tuple[str, _Side]]:
    return [*([("Before", before)] if before else []), ("After", after)]


def _warnings(before: _Side | None, after: _Side) -> list[str]:
    return [
        f"{name}: {warning}"
        for name, side in _named(before, after)
        if (warning := side.metrics["scores"]["warning"])
    ]


def _figure_sheet(before: _Side | None, after: _Side) -> Sheet:
    return Sheet(
        "± is the standard deviation over image orders. A dash: nothing to measure.",
        ["", "AP", "AP50", "AP75", "AR100", "F1@0.5", "F1@0.95", "Best IoU", "Parsed"],
        [[name, *_figures(side)] for name, side in _named(before, after)],
    )


def _tone(old: float | None, new: float | None) -> Tone:
    if old is None or new is None or old == new:
        return "plain"
    return "good" if new > old else "warn"


def _figures(side: _Side) -> list[str]:
    boxes, f1 = side.metrics["bbox"], side.metrics["f1"]
    sd = side.metrics["scores"]["bbox_sd"]
    return [
        shown(boxes["AP"]) + (f" ± {shown(sd['AP'])}" if sd else ""),
        *(shown(boxes[key]) for key in ("AP50", "AP75", "AR100")),
        *(shown(f1[key]) for key in ("F1@0.5", "F1@0.95", "mean_best_iou")),
        shown_share(side.metrics["parse"]["ok_share"]),
    ]


def _scenes(before: _Side | None, after: _Side) -> _Scenes:
    earlier = {row.image: row for row in before.predictions} if before else {}
    count = len(after.predictions)
    chosen = sorted({k * count // SCENES for k in range(SCENES)})
    rows: list[list[Shot]] = []
    for row in (after.predictions[k] for k in chosen):
        pair = [(before.folder, earlier.get(row.image))] if before else []
        shots = [_shot(side, folder) for folder, side in [*pair, (after.folder, row)] if side]
        rows.append([item for item in shots if item is not None])
    whole = [row for row in rows if len(row) == (2 if before else 1)]
    lost = len(rows) - len(whole)
    missing = f"{lost} of {len(rows)} scenes could not be shown." if lost else ""
    return _Scenes(whole, ["Before", "After"] if before else [], missing)


def _shot(row: Prediction, folder: Path) -> Shot | None:
    count = len(row.predicted)
    caption = f"{count} predicted, {len(row.truth)} true"
    if row.status != "ok":
        caption += f"; answer {row.status}"
    return shot(row, folder, caption)


def _beliefs(path: Path) -> list[BeliefChart]:
    return [
        bin_distribution(f"“{desc}” in {image}", _open(path.parent / root / image), beliefs)
        for (root, image, desc), beliefs in _grouped_beliefs(_load_json(path))[:BELIEFS]
    ]


def _grouped_beliefs(
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[tuple[str, str, str], list[EdgeBelief]]]:
    """Return the rows by object; an edge that comes again begins another of the same name."""
    groups: list[tuple[tuple[str, str, str], list[EdgeBelief]]] = []
    for row in rows:
        key = (row["root"], row["image"], row["object"])
        belief = EdgeBelief(row["axis"], row["true_bin"], row["probs"])
        if groups and groups[-1][0] == key and belief.edge not in {b.edge for b in groups[-1][1]}:
            groups[-1][1].append(belief)
        else:
            groups.append((key, [belief]))
    return groups


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened as a picture: {error}") from None


def _classes(metrics: Mapping[str, Any]) -> BarChart:
    return class_bars([(row["class"], row["AP"], row["true"]) for row in metrics["per_class"]])


def _costs(stages: Sequence[Stage]) -> Sheet:
    rows = [
        [
            stage.name,
            _shown_time(stage.seconds),
            "not measured" if stage.peak_mb is None else f"{stage.peak_mb:,.0f} MB",
        ]
        for stage in stages
    ]
    rows.append(["All", _shown_time(sum(stage.seconds for stage in stages)), ""])
    return Sheet("", ["Stage", "Time", "Peak memory"], rows)


def _shown_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
