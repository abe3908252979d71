"""The curves of trainings, in the same charts."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from coordexp.data.files.jsonl import read_rows
from coordexp.errors import InputError
from coordexp.objective.terms import TERMS
from coordexp.viewing.charts import LineChart, Series, line_chart

Points = tuple[tuple[float, float], ...]
Log = Mapping[str, Points]

_RATE, _COORD = "lr/", "coord_diag/"
_CURVES_BEFORE_TERMS = (
    ("Text cross-entropy", "base_ce/loss", "names, structure and integers, nats per token"),
    ("Coord loss, weighted sum", "coord_diag/loss", "what coord positions add to the loss"),
)
_CURVES_AFTER_TERMS = (
    ("Coord mass", "coord_diag/coord_vocab_mass", "probability inside the coord tokens; 1 is all"),
    ("Total loss", "loss", "what the optimizer sees"),
)


def training_curves(train_logs: Mapping[str, Path]) -> list[LineChart]:
    """Return a chart of each curve that is in a training log, with a line for each log that has it.

    Args:
        train_logs: By name of the training: JSONL, one object per logged step.

    Raises:
        InputError: If one cannot be read, or a line is no object with a step.
    """
    return log_curves({name: load_log(path) for name, path in train_logs.items()})


def log_curves(logs: Mapping[str, Log]) -> list[LineChart]:
    """Return a chart of each curve that is in a log, with a line for each log that has it."""
    charts = []
    for title, key, remark in _curve_titles():
        series = [Series(name, log[key]) for name, log in logs.items() if key in log]
        if series:
            whose = f"; {series[0].name} alone" if len(series) == 1 < len(logs) else ""
            charts.append(line_chart(title, series, x_name="step", remark=remark + whose))
    rates = rates_set(logs)
    if rates:
        remark = "as they were set, by group of parameters"
        charts.append(line_chart("Learning rates", rates, x_name="step", remark=remark))
    return charts


def load_log(path: Path) -> Log:
    """Return the figures of a log over its steps, by name.

    Raises:
        InputError: If it cannot be read, or a line is no object with a step.
    """
    series: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, row in read_rows(path):
        if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
            raise InputError(f"{path}:{number}: expected an object with a step")
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                series[key].append((float(row["step"]), float(value)))
    return without_idle({key: tuple(points) for key, points in series.items()})


def without_idle(log: Log) -> Log:
    """Return a log without the coord figures of a training in integers: zeros are no curves."""
    if any(value for _, value in log.get(f"{_COORD}enabled", ())):
        return log
    return {key: points for key, points in log.items() if not key.startswith(_COORD)}


def rates_set(logs: Mapping[str, Log]) -> list[Series]:
    """Return a line for each schedule that was followed, named by all groups that followed it."""
    groups: defaultdict[Points, dict[str, list[str]]] = defaultdict(dict)
    for name, log in logs.items():
        own = {key.removeprefix(_RATE): points for key, points in log.items() if _RATE in key}
        # A log without groups has one rate for all.
        for group, points in (own or {"all": log.get("learning_rate", ())}).items():
            groups[points].setdefault(name, []).append(group)
    return [
        Series(
            "; ".join(f"{name}: {', '.join(members)}" for name, members in named.items()),
            points,
            noisy=False,
        )
        for points, named in groups.items()
        if points
    ]


def _curve_titles() -> list[tuple[str, str, str]]:
    """Return title, key and remark of each curve."""
    terms = [(term.title, term.metric, term.remark) for term in TERMS if term.is_shown]
    return [*_CURVES_BEFORE_TERMS, *terms, *_CURVES_AFTER_TERMS]
