"""Those who answer about the same held-out pictures, as their runs left them on disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordexp.errors import InputError
from coordexp.evaluation.measure.bootstrap import Resampled
from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.lab.compare import resample_run
from coordexp.lab.stages import NAME as STAGES_NAME


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those who are compared.

    Args:
        name: For people.
        folder: Of the answers.
        predictions: The answers.
        metrics: Their figures.
        drawn: The main ones over draws of the pictures.
        costs: CPU seconds, seconds by the clock and memory, by stage.
        train_log: JSONL, one object per logged step; None where nothing was trained.
    """

    name: str
    folder: Path
    predictions: tuple[Prediction, ...]
    metrics: Mapping[str, Any]
    drawn: Resampled
    costs: Mapping[str, Mapping[str, float]]
    train_log: Path | None

    def cpu_seconds(self, kind: str) -> float:
        """Return what its stages of a kind cost; 0 where there is none."""
        return sum(
            cost["cpu_seconds"] for name, cost in self.costs.items() if name.split()[0] == kind
        )


def load_contender(name: str, run: Path, answer: str) -> Contender:
    """Return what a run of the lab left behind.

    Args:
        name: For people.
        run: Folder of the run.
        answer: Under which name its answers are there.

    Raises:
        InputError: If a file cannot be read.
    """
    folder, log = run / answer, run / "checkpoint" / "train_log.jsonl"
    predictions = folder / "predictions.jsonl"
    return Contender(
        name=name,
        folder=folder,
        predictions=read_predictions(predictions),
        metrics=load_json(folder / "metrics.json"),
        drawn=resample_run(predictions),
        costs=load_json(run / STAGES_NAME) if (run / STAGES_NAME).exists() else {},
        train_log=log if log.exists() else None,
    )


def load_json(path: Path) -> Any:  # noqa: ANN401 - JSON that our own stages wrote
    """Return what a JSON file holds.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
