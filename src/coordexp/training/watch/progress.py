"""A progress bar with the loss beside it, the log as JSONL, and TensorBoard's of a resumed run.

A bar is for terminals. Where the output goes into a file, each row of the log is a line of it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    TensorBoardCallback,
)
from typing_extensions import override

from coordexp.errors import InputError
from coordexp.files import write_text
from coordexp.objective.terms import TERMS
from coordexp.training.keep.checkpoint import disk_errors

TENSORBOARD_NAME = "tensorboard"
LOG_NAME = "train_log.jsonl"

_SECONDS_BETWEEN_DRAWINGS = 0.5

_SHOWN_OF_BOXES = ("AP", "AP50", "F1")


class ProgressBar(TrainerCallback):
    """Draws one bar for the run, on rank zero, or writes a line for each row of the log.

    Args:
        console: Where; standard error if none is given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._began, self._first_step = time.monotonic(), 0
        self._progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            # rich's own thread draws ten times a second, whether a step has ended or not.
            auto_refresh=False,
        )
        self._task = self._progress.add_task("train", total=None, figures="")
        self._next_drawing = 0.0

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if not state.is_world_process_zero:
            return
        self._began, self._first_step = time.monotonic(), state.global_step
        if self._console.is_terminal:
            self._progress.update(self._task, total=state.max_steps, completed=state.global_step)
            self._progress.start()

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if not self._console.is_terminal:
            return
        self._progress.update(self._task, completed=state.global_step)
        if time.monotonic() >= self._next_drawing:
            self._progress.refresh()
            self._next_drawing = time.monotonic() + _SECONDS_BETWEEN_DRAWINGS

    @override
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        row = without_idle_terms(state.log_history[-1])
        if self._console.is_terminal:
            figures = " ".join(
                f"{name} {row[key]:.3g}" for key, name in _shown().items() if key in row
            )
            if figures:
                self._progress.update(self._task, figures=figures)
        elif state.is_world_process_zero and (words := row_words(row)):
            line = (
                f"step {state.global_step:,} of {state.max_steps:,}: {words}; {self._left(state)}"
            )
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _left(self, state: TrainerState) -> str:
        done = state.global_step - self._first_step
        if done <= 0:
            return "begins"
        seconds = (time.monotonic() - self._began) / done * (state.max_steps - state.global_step)
        return f"{timedelta(seconds=round(seconds))} left"

    def stop(self) -> None:
        """Leave the bar as it is; call this however the run has ended."""
        if self._console.is_terminal:  # else it was never started, and would leave an empty line
            self._progress.stop()


def without_idle_terms(row: Mapping[str, float]) -> dict[str, float]:
    """Return a row of the log without the coord figures of a text baseline, which are all 0.

    Example:
        >>> without_idle_terms({"loss": 2.5, "coord_diag/enabled": 0.0, "coord_diag/w1": 0.0})
        {'loss': 2.5}
    """
    idle = tuple(
        f"{kind}coord_diag/" for kind in ("", "eval_") if row.get(f"{kind}coord_diag/enabled") == 0
    )
    return {key: value for key, value in row.items() if not key.startswith(idle)}


def row_words(row: Mapping[str, float]) -> str:
    """Return what a row of the log says, for people; nothing for a row of other things.

    Example:
        >>> row_words({"loss": 2.5, "coord_diag/w1": 0.1234, "step": 10})
        'loss 2.5, W1 0.123'
        >>> row_words({"eval_loss": 3.0, "eval_base_ce/loss": 1.0})
        'evaluation: loss 3, text 1'
        >>> row_words({"eval_detection/AP": 0.5123, "eval_detection/F1": 0.6})
        'boxes: AP 0.512, F1 0.6'
    """
    boxes = {f"eval_detection/{name}": name for name in _SHOWN_OF_BOXES}
    kinds = {
        "": _shown(),
        "evaluation: ": {f"eval_{key}": name for key, name in _shown().items()},
        "boxes: ": boxes,
    }
    for kind, names in kinds.items():
        figures = [f"{name} {row[key]:.3g}" for key, name in names.items() if key in row]
        if figures:
            return kind + ", ".join(figures)
    return ""


def _shown() -> dict[str, str]:
    """Return what the bar and the lines show, and under which name."""
    terms = {term.metric: term.label for term in TERMS if term.is_shown}
    return {"loss": "loss", "base_ce/loss": "text", **terms}


class JsonlLog(TrainerCallback):
    """Appends every logged row to `train_log.jsonl`, and takes back what a resumed run repeats."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / LOG_NAME

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            restore_log(self._path, state.log_history)

    @override
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            with (
                disk_errors(self._directory, LOG_NAME),
                self._path.open("a", encoding="utf-8") as file,
            ):
                file.write(json.dumps(state.log_history[-1]) + "\n")


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that nobody knows or that are not installed, before a model is loaded.

    Raises:
        InputError: For the first of them.
    """
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise InputError(f"training.report_to: unknown tracker {name!r}; known: {known}, none")
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (RuntimeError, ImportError) as error:
            raise InputError(f"training.report_to: {name}: {error}") from None


def restore_log(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Cut a log back to the rows that a checkpoint knows; write them where they are not there.

    The file's own lines are kept where they say the same, because their keys are in the order in
    which they were logged.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    known = lines[: len(rows)] + [""] * (len(rows) - len(lines))
    kept = [
        line if line.endswith("\n") and _says(line, row) else json.dumps(row) + "\n"
        for line, row in zip(known, rows, strict=True)
    ]
    if kept != lines:
        write_text(path, "".join(kept))


def _says(line: str, row: Mapping[str, object]) -> bool:
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return json.dumps(value, sort_keys=True) == json.dumps(row, sort_keys=True)  # NaN included


class TensorBoardLog(TensorBoardCallback):
    """Keeps TensorBoard's files of a run in one folder, and hides the steps that are repeated."""

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        if self.logging_dir is None:  # the environment has not named another
            self.logging_dir = str(Path(args.output_dir or ".") / TENSORBOARD_NAME)
        started = state.global_step > 0
        self.tb_writer = self._SummaryWriter(
            log_dir=self.logging_dir, purge_step=state.global_step + 1 if started else 0
        )
        if not started:
            super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
