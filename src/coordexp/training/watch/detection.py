"""Boxes while the run goes on: a saved checkpoint answers records and is scored.

`training.detection_eval` asks for it. Every so many steps rank zero loads the checkpoint that has
just been saved, answers the same few records of `data.eval`, and writes

    detection/step-500/   predictions.jsonl, metrics.json, report.html with boxes drawn, ...
    best/                 the best weights so far, by AP or F1 of points, for `coordexp merge`

`detection.json`, written last, says that the folder is complete. The row of the log comes after its
checkpoint, so a resumed run looks first whether its checkpoint has been asked: what was measured is
logged again, what was not is measured. Nothing of the training is touched, the random states
included.

Not covered: more than one process at it. The others wait, for no longer than their launcher's
timeout.
"""

import json
import logging
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from coordexp.answers.prediction_lines import RowOptions
from coordexp.config.schema import Config
from coordexp.evaluation.evaluate import evaluate_predictions
from coordexp.evaluation.measure.point_figures import share_name
from coordexp.evaluation.measure.points import SHOWN_SHARE
from coordexp.files import write_text
from coordexp.inference.run.ask import AskOptions, EncodedQuestions, HalvingAsk, build_ask
from coordexp.inference.run.inputs import load_source
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predict import AnswerFile, Summary, answer_file
from coordexp.inference.run.predictor import load_predictor
from coordexp.inference.run.ranks import Ranks
from coordexp.training.keep.checkpoint import PARTIAL, disk_errors, publish_checkpoint
from coordexp.training.watch.early_stop import EarlyStop, is_stale

logger = logging.getLogger(__name__)

DETECTION, BEST, SUMMARY_NAME = "detection", "best", "detection.json"
_BATCH_SIZE, _LONGEST_ANSWER = 8, 2048
# Of a checkpoint: what only training needs.
_STATE_SUFFIXES = frozenset({".pt", ".pth", ".py"})
_STATE_NAMES = frozenset({"training_args.bin", "trainer_state.json", "latest"})
_LOGGED = {
    "AP": ("bbox", "AP"),
    "AP50": ("bbox", "AP50"),
    "AP75": ("bbox", "AP75"),
    "F1": ("f1", "F1@0.5"),
    "parsed": ("parse", "ok_share"),
    "points": ("points", "distance", f"F1@{share_name(SHOWN_SHARE)}"),
}
_RANKED = ("AP", "points")  # the first that there is chooses the best


@dataclass(frozen=True, slots=True)
class Detection:
    """What is asked, and when.

    Args:
        run: The run's directory.
        data: The records.
        indices: Which of them.
        steps: Between two evaluations.
        patience: After so many in a row without a higher AP the run ends; None for never.
    """

    run: Path
    data: Path
    indices: tuple[int, ...]
    steps: int
    patience: int | None = None

    def is_due(self, step: int) -> bool:
        """Return whether the checkpoint of a step is asked."""
        return step > 0 and step % self.steps == 0


def build_detection(config: Config) -> Detection | None:
    """Return what a run asks its checkpoints, None where it asks nothing.

    Raises:
        RecordError: If `data.eval` holds a line that is no record of objects.
    """
    block, data = config.training.detection_eval, config.data.eval
    if block.steps is None or data is None:
        return None
    alphabet = config.custom.coord_tokens.alphabet.to_alphabet()
    total = len(load_source(data, alphabet))
    count = min(block.records, total)
    return Detection(
        run=config.training.output_dir,
        data=data,
        indices=tuple(k * total // count for k in range(count)),
        steps=block.steps,
        patience=block.patience,
    )


class DetectionEvaluation(TrainerCallback):
    """Evaluates after a checkpoint, or where a resumed run finds one that was not evaluated.

    Args:
        detection: What is asked, and when.
        log: Takes a row, on rank zero.
        agree: Returns on every rank what rank zero thinks, when all have come this far.
    """

    def __init__(
        self,
        detection: Detection,
        *,
        log: Callable[[dict[str, float]], None],
        agree: Callable[[bool], bool],
    ) -> None:
        self._detection = detection
        self._log = log
        self._agree = agree

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if self._is_last(state):
            # transformers would take one more step before it looks at `control`.
            raise EarlyStop

    @override
    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if self._is_last(state):
            control.should_training_stop = True

    def _is_last(self, state: TrainerState) -> bool:
        """Evaluate where that is due, and return whether the run ends here."""
        detection, step = self._detection, state.global_step
        if not detection.is_due(step):
            return False
        stale = False
        if state.is_world_process_zero:
            with disk_errors(detection.run, DETECTION):
                summary = known_summary(detection.run, step) or measure(detection, step)
                keep_best(detection.run)
            self._log({f"eval_detection/{name}": value for name, value in summary.items()})
            stale = self._is_stale(step)
        return self._agree(stale)

    def _is_stale(self, step: int) -> bool:
        run, patience = self._detection.run, self._detection.patience
        if patience is None:
            return False
        steps = [known for known in _measured_steps(run) if known <= step]
        aps = [(known_summary(run, known) or {}).get("AP") for known in steps]
        stale = is_stale(aps, patience=patience)
        if stale:
            logger.warning(
                "step %d: no higher AP in %d evaluations; the run ends here", step, patience
            )
        return stale


def known_summary(run: Path, step: int) -> dict[str, float] | None:
    """Return what was measured at a step, None where that was not finished."""
    path = run / DETECTION / f"step-{step}" / SUMMARY_NAME
    if not path.exists():
        return None
    summary: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return summary


def measure(detection: Detection, step: int) -> dict[str, float]:
    """Ask the checkpoint of a step and return what is logged of it."""
    began = time.monotonic()
    out = detection.run / DETECTION / f"step-{step}"
    shutil.rmtree(out, ignore_errors=True)  # of a run that was killed at it
    predictions = out / "predictions.jsonl"
    with _kept_random_states():
        summary = _answer(detection, detection.run / f"checkpoint-{step}", predictions)
        metrics = evaluate_predictions(predictions, out)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for problem in summary.unread:
        logger.warning("%s", problem)
    figures = {**_figures(metrics), "records": float(summary.lines)}
    figures["runtime"] = round(time.monotonic() - began, 3)
    write_text(out / SUMMARY_NAME, json.dumps({"step": step, "figures": figures}) + "\n")
    return figures


def _answer(detection: Detection, checkpoint: Path, predictions: Path) -> Summary:
    predictor = load_predictor(checkpoint)
    asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=_LONGEST_ANSWER)
    files = AnswerFile(
        EncodedQuestions(predictor.encoder),
        detection.data,
        predictions,
        model=str(checkpoint),
        indices=detection.indices,
    )
    options = PredictOptions(batch_size=_BATCH_SIZE, asking=asking, rows=RowOptions())
    return answer_file(
        HalvingAsk(build_ask(predictor, asking)), files, options, ranks=Ranks(), quiet=True
    )


def keep_best(run: Path) -> None:
    """Copy the weights of the best step so far to `best/`; the first of equals.

    The best has the highest AP; where the truth is points alone, their highest F1.
    """
    summaries = {step: known_summary(run, step) or {} for step in _measured_steps(run)}
    figure = next((name for name in _RANKED if any(name in s for s in summaries.values())), None)
    if figure is None:
        return
    steps = [step for step, summary in summaries.items() if figure in summary]
    best = min(steps, key=lambda step: (-summaries[step][figure], step))
    kept = run / BEST / SUMMARY_NAME
    source = run / f"checkpoint-{best}"
    known = json.loads(kept.read_text(encoding="utf-8"))["step"] if kept.exists() else None
    if known == best or not source.is_dir():
        return
    target = run / PARTIAL / BEST
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix not in _STATE_SUFFIXES and path.name not in _STATE_NAMES:
            shutil.copyfile(path, target / path.name)
    write_text(target / SUMMARY_NAME, json.dumps({"step": best, "figures": summaries[best]}) + "\n")
    publish_checkpoint(run, BEST)
    (run / PARTIAL).rmdir()


def _measured_steps(run: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run / DETECTION).iterdir())


def _figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return what is logged; what cannot be measured, AP without true objects say, is left out."""
    found = {name: _figure(metrics, path) for name, path in _LOGGED.items()}
    return {name: value for name, value in found.items() if value is not None}


def _figure(metrics: Mapping[str, Any], path: Sequence[str]) -> float | None:
    found: Any = metrics
    for key in path:
        found = None if found is None else found[key]
    return None if found is None else float(found)


@contextmanager
def _kept_random_states() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what libraries use
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
