"""The curves and charts of an evaluation's report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coordexp.evaluation.measure.figures import Evaluation
from coordexp.evaluation.measure.instances import Ints
from coordexp.evaluation.measure.mistakes import confusions
from coordexp.evaluation.measure.ranking import RECALLS
from coordexp.viewing.charts import (
    BarChart,
    Histogram,
    LineChart,
    Series,
    bar_chart,
    histogram,
    line_chart,
)
from coordexp.viewing.elements import HeatTable

CONFUSED_SHOWN = 20
LEAST_IN_BIN = 5
MISSED, NO_CLASS, OTHERS = "missed", "no class", "others"
_FULL = 1.0


class CalibrationCharts(NamedTuple):
    """How far scores can be read as shares.

    Args:
        share_right: Share of right predictions over score.
        scores: How many predictions have which.
    """

    share_right: LineChart
    scores: Histogram


def precision_chart(evaluation: Evaluation) -> LineChart:
    """Return precision over recall at two overlaps."""
    measured = evaluation.bbox.figures.overall.AP is not None
    loose, tight = evaluation.bbox.figures.precision
    lines = [
        Series(name, list(zip(RECALLS.tolist(), values.tolist(), strict=True)), noisy=False)
        for name, values in (("IoU 0.50", loose), ("IoU 0.75", tight))
        if measured
    ]
    remark = "Mean over the classes"
    return line_chart("Precision over recall", lines, x_name="recall", remark=remark, counted=False)


def calibration_charts(calibration: Mapping[str, Any] | None) -> CalibrationCharts | None:
    """Return the charts of a calibration; None where scores are no shares."""
    if calibration is None:
        return None
    bins = calibration["bins"]
    kept = [row for row in bins if row["predictions"] >= LEAST_IN_BIN]
    points = [(row["mean_score"], row["right"]) for row in kept]
    ece = calibration["ece"]
    remark = "" if ece is None else f"Expected calibration error {ece:.3f}"
    if "applied" in calibration:
        remark += f", {calibration['applied']['method']} map, {calibration['images']} images"
    if len(kept) < len(bins):
        remark += f"; bins of fewer than {LEAST_IN_BIN} predictions are not drawn"
    lines = [Series("share right", points, noisy=False)]
    if points:  # alone, the diagonal would look like a perfect result
        lines.append(Series("as it should be", [(0.0, 0.0), (1.0, 1.0)], noisy=False))
    columns = [(row["from"], row["to"], row["predictions"]) for row in bins]
    return CalibrationCharts(
        line_chart("Share right over score", lines, x_name="score", remark=remark, counted=False),
        histogram("Scores", columns, x_name="score"),
    )


def recall_by_size(rows: Sequence[Mapping[str, Any]]) -> BarChart:
    """Return recall for true objects of each size."""
    named = [(f"{row['size']} ", row) for row in rows]
    return _recall_bars("Recall at IoU 0.5 · true objects by size", named)


def recall_by_count(rows: Sequence[Mapping[str, Any]]) -> BarChart:
    """Return recall for images with so many objects."""
    named = [(row["objects"].replace("-", "\N{EN DASH}"), row) for row in rows]
    return _recall_bars("Recall at IoU 0.5 · by objects in the image", named)


def mistake_bars(counts: Mapping[str, int]) -> BarChart:
    """Return the mistakes by kind."""
    bars = [(name, float(count), f"{count:,}") for name, count in counts.items()]
    return bar_chart("Mistakes at IoU 0.5", bars, most=max(1, *counts.values()))


def repeats_told(repeats: Mapping[str, Any]) -> str:
    """Return what repeated predictions cost, in words; empty where there are none."""
    if not repeats["objects"]:
        return ""
    return (
        f"{repeats['objects']:,} predictions ({repeats['share']:.1%}) repeat a surer one; "
        f"{repeats['images_with_burst']:,} answers say one object three times or more, at "
        f"most {repeats['longest_burst']} times. Without repeats F1@0.5 is "
        f"{repeats['F1@0.5_without']:.3f}."
    )


def _recall_bars(title: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> BarChart:
    bars = []
    for name, row in rows:
        recall = row["recall@0.5"]
        shown = "\N{EN DASH}" if recall is None else f"{recall:.3f}"
        bars.append((name, recall, f"{shown} · {row['true']:,}"))
    return bar_chart(title, bars, most=_FULL)


def confusion_table(evaluation: Evaluation) -> HeatTable | None:
    """Return true classes in rows, what they were called in columns; None without a class."""
    if not evaluation.instances.categories.names:
        return None
    matches, found = evaluation.matches, evaluation.mistakes
    categories, truth = matches.instances.categories, matches.instances.truth
    times = confusions(matches, found)
    true = np.bincount(truth.category[truth.counted], minlength=categories.bucket_id + 1)
    confused: Counter[int] = Counter()
    for (one, other), count in times.items():
        confused[one] += count
        confused[other] += count
    every = range(1, categories.bucket_id)
    shown = sorted(every, key=lambda number: (-confused[number], -true[number]))[:CONFUSED_SHOWN]
    shown.sort()
    counts = _called(evaluation, times, shown)
    names = [categories.names[number - 1] for number in shown]
    title, remark = "What true objects were called", ""
    if len(shown) < len(every):
        title += f" · the {len(shown)} most confused of {len(every)} classes"
        remark = f"{OTHERS.capitalize()}: all other classes together, right or called one another."
        names.append(OTHERS)
    else:
        counts = np.delete(np.delete(counts, len(shown), axis=1), len(shown), axis=0)
    rows = list(zip(names, counts.tolist(), strict=True))
    return HeatTable(title, [*names, NO_CLASS, MISSED], rows, remark=remark)


def _called(
    evaluation: Evaluation, times: Mapping[tuple[int, int], int], shown: Sequence[int]
) -> Ints:
    """Return how often each class was called what; an object counts for each that it was called.

    A row for each class shown and one for all others; a column for the same, for what is no class,
    and for what was not found at all.
    """
    matches, found = evaluation.matches, evaluation.mistakes
    bucket, truth = matches.instances.categories.bucket_id, matches.instances.truth
    others, no_class = len(shown), len(shown) + 1
    place = np.full(bucket + 1, others)
    place[shown], place[bucket] = range(others), no_class
    counts = np.zeros((others + 1, others + 3), dtype=np.int64)
    for (one, other), count in times.items():
        counts[place[one], place[other]] += count
    right = place[truth.category[matches.found()]]
    np.add.at(counts, (right, right), 1)
    taken = np.zeros(len(truth), dtype=np.bool_)
    taken[found.taken_for[found.taken_for >= 0]] = True
    lost = place[truth.category[found.missed & ~taken]]
    counts[:, -1] = np.bincount(lost, minlength=others + 1)
    return counts
