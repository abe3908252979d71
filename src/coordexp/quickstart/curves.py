"""The curves of a training log, for the report."""

from collections import defaultdict
from pathlib import Path

from coordexp.data.files.jsonl import read_rows
from coordexp.errors import InputError
from coordexp.objective.terms import TERMS
from coordexp.viewing.charts import LineChart, Series, line_chart

_CURVES_BEFORE_TERMS = (
    ("Text cross-entropy", "base_ce/loss", "names and structure, nats per token"),
    ("Coord loss, weighted sum", "coord_diag/loss", "what coord positions add to the loss"),
)
_CURVES_AFTER_TERMS = (
    ("Coord mass", "coord_diag/coord_vocab_mass", "probability inside the coord tokens; 1 is all"),
    ("Total loss", "loss", "what the optimizer sees"),
    ("Learning rate", "learning_rate", "of the first parameter group"),
)


def training_curves(train_log: Path) -> list[LineChart]:
    """Return a chart of each curve that a training log holds.

    Args:
        train_log: JSONL, one object per logged step.

    Raises:
        InputError: If it cannot be read, or a line is no object with a step.
    """
    series: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, row in read_rows(train_log):
        if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
            raise InputError(f"{train_log}:{number}: expected an object with a step")
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                series[key].append((float(row["step"]), float(value)))
    return [
        line_chart(
            title,
            [Series(title, series[key], noisy=key != "learning_rate")],
            x_name="step",
            remark=remark,
        )
        for title, key, remark in _curve_titles()
        if key in series
    ]


def _curve_titles() -> list[tuple[str, str, str]]:
    """Return title, key and remark of each curve."""
    terms = [(term.title, term.metric, term.remark) for term in TERMS if term.is_shown]
    return [*_CURVES_BEFORE_TERMS, *terms, *_CURVES_AFTER_TERMS]
