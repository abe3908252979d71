"""The report of one predictions file, and the elements that other reports borrow from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coordexp.evaluation.measure.bootstrap import FIGURES
from coordexp.evaluation.measure.figures import Evaluation
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scored_objects import ScoredObject
from coordexp.evaluation.measure.tables import PER_CLASS_COLUMNS, Row
from coordexp.evaluation.page.charts import (
    calibration_charts,
    confusion_table,
    mistake_bars,
    precision_chart,
    recall_by_count,
    recall_by_size,
    repeats_told,
)
from coordexp.evaluation.page.cuts import cuts_shown
from coordexp.evaluation.page.gallery import gallery, open_picture
from coordexp.evaluation.page.points import point_sheets, point_tiles
from coordexp.viewing.charts import BarChart, bar_chart
from coordexp.viewing.draw import DrawnObject, draw_objects
from coordexp.viewing.elements import Sheet, Shot, Tile, Tone, inline_picture
from coordexp.viewing.page import Page

CLASSES_SHOWN = 40


def evaluation_page(evaluation: Evaluation, predictions: Path, metrics: Mapping[str, Any]) -> Page:
    """Return the report of one predictions file."""
    subtitle = (
        f"{predictions.name}: {len(evaluation.predictions):,} images, "
        f"{metrics['objects']['true']:,} true objects, "
        f"{len(evaluation.instances.predicted):,} predictions."
    )
    named = [(row["class"], row["AP"], row["true"]) for row in evaluation.classes]
    values = {
        "warnings": _warnings(evaluation, metrics),
        "headline": _headline(evaluation, metrics),
        "figures": _figures(evaluation, metrics),
        "left_out": _left_out(evaluation),
        "precision": precision_chart(evaluation),
        "calibration": calibration_charts(metrics["calibration"]),
        "cuts": cuts_shown(evaluation.cuts, evaluation.classes),
        "recall_by_size": recall_by_size(metrics["recall_by_size"]),
        "recall_by_count": recall_by_count(metrics["recall_by_count"]),
        "mistakes": mistake_bars(metrics["mistakes"]),
        "repeats": repeats_told(metrics["duplicates"]),
        "confusion": confusion_table(evaluation),
        "class_count": len(evaluation.classes),
        "class_bars": class_bars(named),
        "classes": _class_sheet(evaluation.classes),
        "answers": _answer_sheets(metrics["parse"]),
        "unknown": _unknown_told(metrics["categories"]),
        "gallery": gallery(evaluation, predictions.parent),
    }
    return Page(__name__, "evaluation.html.j2", "Evaluation", subtitle, values)


def shown(value: float | None, digits: int = 3) -> str:
    """Return a figure for a reader; a dash where it cannot be measured."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}"


def shown_share(value: float | None) -> str:
    """Return a share in percent."""
    return "\N{EN DASH}" if value is None else f"{value:.1%}"


def shot(row: Prediction, folder: Path, caption: str) -> Shot | None:
    """Return a picture with its true and predicted objects, or None where it cannot be opened.

    Args:
        row: The prediction.
        folder: Of the predictions file.
        caption: Below the picture.
    """
    picture = open_picture(row, folder)
    if picture is None:
        return None
    drawn = draw_objects(
        picture, true=_drawn(row.truth), predicted=_drawn(row.predicted, scored=True)
    )
    alt = f"{row.image}: {len(row.truth)} true and {len(row.predicted)} predicted objects"
    return Shot(inline_picture(drawn), caption, alt)


def class_bars(classes: Sequence[tuple[str, float | None, int]]) -> BarChart:
    """Return AP per class as bars, most frequent classes first.

    Args:
        classes: Name, AP and number of true objects.
    """
    ranked = sorted(classes, key=lambda item: -item[2])[:CLASSES_SHOWN]
    bars = [(name, ap, f"{shown(ap)} · {count}") for name, ap, count in ranked]
    return bar_chart("AP · number of true objects", bars, most=1.0)


def _drawn(objects: Sequence[ScoredObject], *, scored: bool = False) -> list[DrawnObject]:
    return [
        DrawnObject(item.desc, item.geometry, item.score if scored else None) for item in objects
    ]


def _warnings(evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[str]:
    warning = evaluation.health.warning()
    return [*([] if warning is None else [warning]), *metrics["notes"]]


def _headline(evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Tile]:
    f1, parse = metrics["f1"], metrics["parse"]
    sd = evaluation.bbox.sd
    boxes = evaluation.bbox.figures.overall
    tone: Tone = "plain" if evaluation.health.ranks else "warn"
    spread = f"± {shown(sd.AP)} over image orders" if sd else "box AP at IoU 0.50 to 0.95"
    return [
        Tile("AP", shown(boxes.AP), spread, tone),
        Tile("AP50", shown(boxes.AP50), "loose boxes count"),
        Tile("AP75", shown(boxes.AP75), "tight boxes count"),
        Tile("F1@0.5", shown(f1["F1@0.5"]), "needs no scores"),
        Tile("Mean best IoU", shown(f1["mean_best_iou"]), "of each true object"),
        Tile("Parsed whole", shown_share(parse["ok_share"]), "of all answers"),
        *point_tiles(metrics["points"]),
    ]


def _figures(evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Sheet]:
    sheets = [_coco_sheet(evaluation), _f1_sheet(metrics["f1"])]
    return [*sheets, *point_sheets(metrics["points"]), *_more_sheets(metrics)]


def _left_out(evaluation: Evaluation) -> str:
    left_out = evaluation.instances.left_out
    counted = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    return f"Left out of these figures: {counted}." if left_out else ""


def _coco_sheet(evaluation: Evaluation) -> Sheet:
    head, rows = ["COCO"], []
    for name, result in (("Boxes", evaluation.bbox), ("Masks", evaluation.segm)):
        if result is None:
            continue
        figures = result.figures.overall.to_json()
        head = ["COCO", *figures]
        rows.append([name, *map(shown, figures.values())])
        if result.sd:
            rows.append(["± sd", *map(shown, result.sd.to_json().values())])
    return Sheet("Average precision and recall. A dash: no true object of that size.", head, rows)


def _f1_sheet(f1: Mapping[str, float | None]) -> Sheet:
    names = {
        "F1@0.5": "F1@0.5",
        "F1@0.95": "F1@0.95",
        "F1@mIoU": "F1@mIoU",
        "precision@0.5": "Precision@0.5",
        "recall@0.5": "Recall@0.5",
        "mean_best_iou": "Mean best IoU",
        "mean_best_iou_any_class": "… of any class",
    }
    return Sheet(
        "Greedy matching, one to one within a class; no ranking between images.",
        ["Matching", *names.values()],
        [["All classes", *(shown(f1[key]) for key in names)]],
    )


def _more_sheets(metrics: Mapping[str, Any]) -> list[Sheet]:
    sheets = []
    referring = metrics["referring"]
    if referring["expressions"]:
        names = [name for name in referring if name.startswith("accuracy")]
        caption = (
            f"{referring['expressions']:,} images with one true object, as referring expressions: "
            "how often the surest box is right."
        )
        row = ["Surest box", *(shown(referring[name]) for name in names)]
        sheets.append(Sheet(caption, ["Referring", *names], [row]))
    if "intervals" in metrics:
        found = metrics["intervals"]
        caption = f"95 % intervals over {found['resamples']:,} draws of the images."
        known = {**metrics["bbox"], **metrics["f1"]}
        rows = [[name, shown(known[name]), _shown_interval(found[name])] for name in FIGURES]
        sheets.append(Sheet(caption, ["Figure", "of these images", "95 % interval"], rows))
    if "compare" in metrics:
        sheets.append(_comparison(metrics["compare"]))
    return sheets


def _comparison(compare: Mapping[str, Any]) -> Sheet:
    rows = [
        [
            name,
            shown(row["this"]),
            shown(row["other"]),
            "\N{EN DASH}" if row["difference"] is None else f"{row['difference']:+.3f}",
            _shown_interval(row["interval"], "+.3f"),
        ]
        for name in FIGURES
        for row in [compare[name]]
    ]
    return Sheet(
        f"Beside {compare['with']}, on the same draws of the images. An interval without 0 is a "
        "difference.",
        ["Compared", "this", "other", "difference", "95 % interval"],
        rows,
    )


def _shown_interval(ends: Sequence[float] | None, form: str = ".3f") -> str:
    if ends is None:
        return "\N{EN DASH}"
    return f"{ends[0]:{form}} to {ends[1]:{form}}"


def _class_sheet(classes: Sequence[Row]) -> Sheet:
    """Return the figures of the most frequent classes."""
    ranked = sorted(classes, key=lambda row: -row["true"])[:CLASSES_SHOWN]
    names = PER_CLASS_COLUMNS[1:]
    rows = [
        [
            row["class"],
            *(f"{row[n]:,}" if isinstance(row[n], int) else shown(row[n]) for n in names),
        ]
        for row in ranked
    ]
    return Sheet("", ["Class", *names], rows)


def _answer_sheets(parse: Mapping[str, Any]) -> list[Sheet]:
    return [
        _counts("Answer", parse["status"]),
        _counts("Generation ended by", parse["finish_reason"]),
        _counts("Dropped from answers", parse["dropped"]),
    ]


def _unknown_told(categories: Mapping[str, Any]) -> str:
    unknown = categories["unknown_objects"]
    if not unknown:
        return ""
    kept = "false positives" if categories["unknown"] == "bucket" else "left out"
    most = ", ".join(f"{d} ({n})" for d, n in categories["most_frequent_unknown"].items())
    return (
        f"Predictions whose desc the truth never uses: {unknown:,}, {kept}. Most frequent: {most}."
    )


def _counts(name: str, counts: Mapping[str, int]) -> Sheet:
    rows = [[key, f"{count:,}"] for key, count in counts.items()] or [["nothing", "0"]]
    return Sheet("", [name, "Number"], rows)
