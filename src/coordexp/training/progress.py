"""A progress bar with the loss beside it, and the log as JSONL."""

import json
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

LOG_NAME = "train_log.jsonl"


class ProgressBar(TrainerCallback):
    """Draws one bar for the run, on rank zero, on standard error."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("train", total=None, figures="")

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

    @override
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        row = state.log_history[-1]
        shown = {"loss": "loss", "base_ce/loss": "text", "coord_diag/loss": "coord"}
        figures = "  ".join(f"{name} {row[key]:.3f}" for key, name in shown.items() if key in row)
        if figures:
            self._progress.update(self._task, figures=figures)

    def stop(self) -> None:
        """Leave the bar as it is; call this however the run has ended."""
        self._progress.stop()


class JsonlLog(TrainerCallback):
    """Appends every logged row to `train_log.jsonl`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOG_NAME

    @override
    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(state.log_history[-1]) + "\n")
