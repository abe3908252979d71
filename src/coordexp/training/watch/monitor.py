"""Steps that go wrong: a loss or a gradient that is not finite, a loss far above those before it.

**Not finite** stops every run. **A spike** is a step whose loss is more than `spike_factor` times
the median of the last `window` finite losses; it is looked for once ten of them are known, and
every finite loss joins them, so that a loss which stays high is no spike any more after half a
window. Both are judged on the step's whole loss, over micro-batches and ranks, before the weights
move.

With `custom.instability_monitor` each such step becomes a line of `instability.jsonl`, which names
the records of its micro-batches, and the run stops or goes on as configured. A resumed run goes on
with the median it had, and lines of steps that it repeats are taken back.
"""

import json
import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from coordexp.config.schema import Config
from coordexp.errors import CoordExpError
from coordexp.files import write_text
from coordexp.objective import Stage1Output
from coordexp.training.keep.checkpoint import disk_errors
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.diagnostics import LossWindow, total_loss

INSTABILITY_NAME = "instability.jsonl"
# Below this many losses a median says little.
_LEAST_LOSSES = 10
# Records that a message names; the file names all.
_MOST_NAMED = 20

Kind = Literal["spike", "non_finite"]
OnSpike = Literal["go_on", "stop"]
OnNonFinite = Literal["skip_step", "stop"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """What counts as a spike, and what follows.

    Args:
        spike_factor: Times the median.
        window: Losses that the median is taken of.
        on_spike: `go_on`, or `stop` before the weights move.
        on_non_finite: `stop`, or `skip_step`: the weights stay as they are, and the run goes on.
    """

    spike_factor: float
    window: int
    on_spike: OnSpike
    on_non_finite: OnNonFinite


def monitor_settings(config: Config) -> MonitorSettings | None:
    """Return what a run watches for, None where it was not asked to."""
    block = config.custom.instability_monitor
    if not block.enabled:
        return None
    return MonitorSettings(
        spike_factor=block.spike_factor,
        window=block.window,
        on_spike=block.on_spike,
        on_non_finite=block.on_non_finite,
    )


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What a step is judged by.

    Args:
        step: Its number, from 1.
        loss: Of all ranks.
        grad_norm: Before clipping; None where it is not known, or may be infinite (float16).
    """

    step: int
    loss: float
    grad_norm: float | None

    @property
    def is_finite(self) -> bool:
        """Whether weights may be moved by it."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm or 0.0)


class InstabilityMonitor:
    """Judges steps by those before them.

    Args:
        run: The run's directory.
        settings: What counts.
    """

    def __init__(self, run: Path, settings: MonitorSettings) -> None:
        self._run = run
        self._path = run / INSTABILITY_NAME
        self.settings = settings
        self._losses: deque[float] = deque(maxlen=settings.window)

    def median(self) -> float | None:
        """Return what losses are compared with, None while too few are known."""
        return statistics.median(self._losses) if len(self._losses) >= _LEAST_LOSSES else None

    def judge(self, figures: StepFigures) -> tuple[Kind | None, float | None]:
        """Return what is wrong with a step, and the median it was compared with."""
        median = self.median()
        if not figures.is_finite:
            return "non_finite", median
        self._losses.append(figures.loss)
        above = median is not None and figures.loss > self.settings.spike_factor * median
        return ("spike" if above else None), median

    def stops(self, kind: Kind) -> bool:
        """Return whether the run ends here."""
        settings = self.settings
        return (settings.on_spike if kind == "spike" else settings.on_non_finite) == "stop"

    def write(self, row: Row) -> None:
        """Append a line; for rank zero."""
        with disk_errors(self._run, INSTABILITY_NAME), self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def cut_back(self, step: int) -> None:
        """Take back the lines of later steps, and half a line that a kill has left."""
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if kept != lines:
            write_text(self._path, "".join(kept))

    def state_dict(self) -> dict[str, list[float]]:
        """Return the last losses."""
        return {"losses": list(self._losses)}

    def load_state_dict(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on from the losses of a checkpoint."""
        self._losses.clear()
        self._losses.extend(state["losses"])


def micro_batch_row(
    output: Stage1Output, objective: Objective, places: Callable[[], Sequence[str]], rank: int
) -> Row:
    """Return what there is to say of a micro-batch, its figures divided by its own targets.

    Args:
        output: Its loss.
        objective: That it is of.
        places: Returns where its records stand.
        rank: Whose it is.
    """
    window = LossWindow(objective)
    window.add(output)
    figures = window.read(lambda values: values)
    terms = {
        name: value
        for name, value in figures.items()
        if name.startswith(("base_ce/", "coord_diag/")) and name != "coord_diag/enabled"
    }
    return {
        "rank": rank,
        "records": list(places()),
        "loss": total_loss(figures),
        "broken": broken_terms(output),
        **terms,
    }


def check_finite(output: Stage1Output, places: Callable[[], Sequence[str]]) -> None:
    """Stop where a loss is lost.

    Args:
        output: Of one micro-batch.
        places: Returns where its records stand.

    Raises:
        CoordExpError: If the loss is not finite; it names the broken terms and the records.
    """
    if torch.isfinite(output.loss):
        return
    broken = ", ".join(broken_terms(output)) or "only their weighted sum"
    raise CoordExpError(
        f"the loss is not finite; broken terms: {broken}; records: {', '.join(places()) or 'none'}"
    )


def broken_terms(output: Stage1Output) -> list[str]:
    """Return the terms that are not finite."""
    return [name for name, value in output.sums.items() if not torch.isfinite(value)]


def event_row(
    kind: Kind, figures: StepFigures, median: float | None, then: str, batches: Sequence[Row]
) -> Row:
    """Return a line of `instability.jsonl`; of a lost loss, with the lost micro-batches alone.

    Args:
        kind: What is wrong.
        figures: Of the step.
        median: Of the losses before it.
        then: What becomes of the run.
        batches: Of all ranks.
    """
    lost = [row for row in batches if not math.isfinite(row["loss"])]
    shown = lost if kind == "non_finite" and lost else batches
    return {
        "step": figures.step,
        "kind": kind,
        "loss": figures.loss,
        "median": median,
        "grad_norm": figures.grad_norm,
        "then": then,
        "micro_batches": sorted(shown, key=lambda row: _descending(row["loss"])),
    }


def event_message(row: Row) -> str:
    """Return the same for people."""
    batches = row["micro_batches"]
    if row["kind"] == "spike":
        begin = (
            f"step {row['step']}: the loss is {row['loss']:.4g}, the median before it "
            f"{row['median']:.4g}"
        )
    elif math.isfinite(row["loss"]):
        begin = f"step {row['step']}: the gradient is not finite, while the loss is"
    else:
        terms = dict.fromkeys(term for batch in batches for term in batch["broken"])
        named = ", ".join(terms) or "only their weighted sum"
        begin = f"step {row['step']}: the loss is not finite; broken terms: {named}"
    places = [place for batch in batches for place in batch["records"]]
    shown = ", ".join(places[:_MOST_NAMED]) or "none"
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    return f"{begin}; records: {shown}{more}"


def _descending(loss: float) -> float:
    return -loss if math.isfinite(loss) else -math.inf
