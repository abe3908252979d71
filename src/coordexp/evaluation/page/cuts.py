"""Where to cut: precision, recall and F1 over the score, as a report shows them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coordexp.evaluation.measure.instances import Floats
from coordexp.evaluation.measure.score_cuts import ScoreCurve, ScoreCuts
from coordexp.evaluation.measure.tables import Row
from coordexp.viewing.charts import LineChart, Series, line_chart
from coordexp.viewing.elements import Sheet

CURVES_SHOWN = 24
POINTS_SHOWN = 120
DASH = "\N{EN DASH}"


class CutsShown(NamedTuple):
    """Precision, recall and F1 over the score.

    Args:
        told: What score is best, and what that is worth; empty where nothing is found.
        advice: What to do with it; empty as `told`.
        chart: Of all classes together.
        classes: The best score of each class that is shown.
        charts: Their curves.
        left_out: How many classes are not shown.
    """

    told: str
    advice: str
    chart: LineChart
    classes: Sheet
    charts: Sequence[LineChart]
    left_out: int


def cuts_shown(cuts: ScoreCuts, rows: Sequence[Row]) -> CutsShown:
    """Return the figures over the score, the most frequent classes first.

    Args:
        cuts: The figures.
        rows: Of the classes, in id order.
    """
    named = sorted(zip(rows, cuts.classes, strict=True), key=lambda pair: -pair[0]["true"])
    shown = named[:CURVES_SHOWN]
    return CutsShown(
        told=best_told(cuts),
        advice="" if cuts.best is None else _advice(cuts),
        chart=_chart("All classes together", cuts.curve),
        classes=_sheet(shown),
        charts=[_chart(row["class"], curve) for row, curve in shown],
        left_out=len(named) - len(shown),
    )


def best_told(cuts: ScoreCuts) -> str:
    """Return the best score in words; empty where nothing is found."""
    best = cuts.best
    if best is None:
        return ""
    spread = ""
    if cuts.interval is not None:
        low, high = cuts.interval
        spread = f" ({low:.3f} to {high:.3f} over draws of the images)"
    return (
        f"F1 is best at a score of {best.score:.3f}{spread}: F1 {best.F1:.3f}, precision "
        f"{best.precision:.3f}, recall {_shown(best.recall)}."
    )


def _advice(cuts: ScoreCuts) -> str:
    unseen = (
        "; there are too few to say by how much"
        if cuts.unseen is None
        else f": where each half of them is cut at the other half's best score, F1 is "
        f"{cuts.unseen:.3f}"
    )
    return (
        "This score was chosen on the very images that it is judged on, which flatters it"
        f"{unseen}. Choose it on one set of images, and report what it gives on another: "
        "coordexp predict --min-score."
    )


def _chart(title: str, curve: ScoreCurve) -> LineChart:
    if len(curve.score) < 2:  # noqa: PLR2004 - one point is no line
        remark = "One score, and so one cut" if len(curve.score) else "Nothing is predicted"
        return line_chart(title, [], x_name="score", remark=remark, counted=False)
    drawn = curve.thinned(POINTS_SHOWN)
    lines = [
        Series(name, _points(drawn.score, values), noisy=False)
        for name, values in (
            ("F1", drawn.f1),
            ("precision", drawn.precision),
            ("recall", drawn.recall),
        )
    ]
    best = curve.best()
    remark = "Nothing is found" if best is None else f"F1 {best.F1:.3f} at {best.score:.3f}"
    mark = None if best is None else best.score
    return line_chart(title, lines, x_name="score", remark=remark, counted=False, mark=mark)


def _points(score: Floats, values: Floats) -> list[tuple[float, float]]:
    pairs = [(float(x), float(y)) for x, y in zip(score, values, strict=True) if not np.isnan(y)]
    return pairs[::-1]  # from left to right


def _sheet(shown: Sequence[tuple[Mapping[str, Any], ScoreCurve]]) -> Sheet:
    rows = []
    for row, curve in shown:
        best = curve.best()
        figures = (
            [DASH] * 4
            if best is None
            else [_shown(value) for value in (best.score, best.F1, best.precision, best.recall)]
        )
        rows.append([row["class"], f"{row['true']:,}", *figures])
    head = ["Class", "true", "best score", "F1 there", "precision", "recall"]
    return Sheet("The score of the best F1 of each class alone.", head, rows)


def _shown(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"
