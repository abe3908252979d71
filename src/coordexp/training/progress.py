"""A progress bar with the loss beside it, the log as JSONL, and TensorBoard's of a resumed run."""

import json
import time
from collections.abc import Mapping, Sequence
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
from coordexp.training.checkpoint import disk_errors

TENSORBOARD_NAME = "tensorboard"
LOG_NAME = "train_log.jsonl"

_SECONDS_BETWEEN_DRAWINGS = 0.5

# What the bar shows, and under which name.
SHOWN = {
    "loss": "loss",
    "base_ce/loss": "text",
    "coord_diag/soft_ce": "softCE",
    "coord_diag/w1": "W1",
    "coord_diag/gate": "gate",
}


class ProgressBar(TrainerCallback):
    """Draws one bar for the run, on rank zero, on standard error."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            # rich's own thread draws ten times a second, whether a step has ended or not.
            auto_refresh=False,
        )
        self._task = self._progress.add_task("train", total=None, figures="")
        self._next_drawing = 0.0

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            self._progress.update(self._task, total=state.max_steps, completed=state.global_step)
            self._progress.start()

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._progress.update(self._task, completed=state.global_step)
        if time.monotonic() >= self._next_drawing:
            self._progress.refresh()
            self._next_drawing = time.monotonic() + _SECONDS_BETWEEN_DRAWINGS

    @override
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        row = state.log_history[-1]
        # The text baseline's coord figures are all 0.
        unseen = () if row.get("coord_diag/enabled", 1) else ("coord_diag/",)
        figures = " ".join(
            f"{name} {row[key]:.3g}"
            for key, name in SHOWN.items()
            if key in row and not key.startswith(unseen)
        )
        if figures:
            self._progress.update(self._task, figures=figures)

    def stop(self) -> None:
        """Leave the bar as it is; call this however the run has ended."""
        self._progress.stop()


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
