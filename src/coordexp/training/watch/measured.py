"""A Trainer that says how it is doing: speed, groups, and steps that go wrong.

What is said of the loss is the mixin's (`training.loop.trainer`). Between two optimizer steps
nothing is read from the device; at the end of each, loss and gradient are, in one transfer, so that
no weight is moved by what is not finite.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from coordexp.errors import CoordExpError
from coordexp.objective import Stage1Output
from coordexp.training.keep.resume import Resumable, ResumableTrainer
from coordexp.training.step.feed import RECORDS
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.group_figures import clip_factor, group_figures, to_floats, whole
from coordexp.training.watch.monitor import (
    InstabilityMonitor,
    Kind,
    MonitorSettings,
    StepFigures,
    event_message,
    event_row,
    micro_batch_row,
)
from coordexp.training.watch.speed import Load, SpeedWindow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _MicroBatch:
    output: Stage1Output
    objective: Objective
    places: Callable[[], Sequence[str]]


class MeasuredTrainer(ResumableTrainer):
    """Measures steps, and judges each before it moves a weight.

    Args:
        pack_size: Tokens that a pack has room for; None where nothing is packed.
        monitor: What counts as unstable; None stops at what is not finite, and writes nothing.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the Trainer's own
        pack_size: int | None,
        monitor: MonitorSettings | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._speed = SpeedWindow(self.args.device, pack_size=pack_size)
        self._monitor = None if monitor is None else InstabilityMonitor(self._run, monitor)
        self.within_step = False
        self._batches: list[_MicroBatch] = []
        self._grad_norm: Tensor | float | None = None
        self._group_figures: dict[str, Tensor | float] = {}
        self.add_callback(_Steps(self))

    @override
    def resumables(self) -> dict[str, Resumable]:
        """Return everything with a state of its own."""
        ours: dict[str, Resumable] = {"speed": self._speed}
        if self._monitor is not None:
            ours["monitor"] = self._monitor
        return {**super().resumables(), **ours}

    @override
    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Any]:
        """Return the micro-batches of a step and their targets."""
        self._speed.begin_step()
        batches, counts = super().get_batch_samples(
            self._speed.waiting_for(epoch_iterator), num_batches, device
        )
        for batch in batches:
            self._speed.add_load(_load(batch))
        return batches, counts

    @override
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Take a micro-batch forward and back."""
        self.within_step = True
        self._speed.clock.enter("forward")
        loss = super().training_step(*args, **kwargs)
        self._speed.clock.enter(None)
        self.within_step = False
        return loss

    @override
    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Return the loss, after which the backward pass begins."""
        result = super().compute_loss(*args, **kwargs)
        if self.within_step:
            self._speed.clock.enter("backward")
        return result

    def keep_for_step(
        self, output: Stage1Output, objective: Objective, places: Callable[[], Sequence[str]]
    ) -> None:
        """Keep what a micro-batch says until its step is judged.

        Args:
            output: Its loss.
            objective: That it is of.
            places: Returns where its records stand.
        """
        self._speed.add_targets(output.counts.text + output.counts.coord)
        detached = replace(output, loss=output.loss.detach())
        self._batches.append(_MicroBatch(detached, objective, places))

    @override
    def _get_grad_norm(
        self, model: nn.Module, grad_norm: Tensor | float | None = None
    ) -> Tensor | float | None:
        norm: Tensor | float | None = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        self._grad_norm = norm
        return norm

    def begin_run(self) -> None:
        """Take back what a resumed run will say again."""
        if self._monitor is not None and self.is_world_process_zero():
            self._monitor.cut_back(self.state.global_step)

    def measure_groups(self) -> None:
        """Measure the optimizer's groups, in a step that will be logged."""
        norm, logged = self._grad_norm, int(self.state.logging_steps) or 1
        if (self.state.global_step + 1) % logged or norm is None or self.optimizer is None:
            return
        clipped_by = clip_factor(norm, self.args.max_grad_norm)
        self._group_figures = group_figures(self.optimizer.param_groups, clipped_by=clipped_by)

    def judge_step(self) -> None:
        """Look at the whole step before it moves the weights.

        Raises:
            CoordExpError: If it is unstable and the run is to stop.
        """
        figures = self._step_figures()
        batches, self._batches = self._batches, []
        kind, median = self._judged(figures)
        if kind is None:
            return
        monitor = self._monitor
        stops = monitor is None or monitor.stops(kind)
        then = "stopped" if stops else "skipped" if kind == "non_finite" else "went on"
        row = event_row(kind, figures, median, then, self._rows_of_all_ranks(batches))
        if monitor is not None and self.is_world_process_zero():
            monitor.write(row)
        if stops:
            raise CoordExpError(event_message(row))
        if self.is_world_process_zero():
            logger.warning("%s; %s", event_message(row), then)
        if kind == "non_finite" and self.optimizer is not None:
            self.optimizer.zero_grad()  # AdamW leaves alone what has no gradient

    def _judged(self, figures: StepFigures) -> tuple[Kind | None, float | None]:
        if self._monitor is not None:
            return self._monitor.judge(figures)
        return (None if figures.is_finite else "non_finite"), None

    def end_step(self) -> None:
        """Stop the clock."""
        self._speed.end_step()

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= to_floats(self._group_figures)
            logs |= self._speed.read(self.accelerator.gather)
            self._group_figures = {}
        super().log(logs, start_time)
        if "loss" in logs and not math.isfinite(logs["loss"]):
            # transformers begins the next sum with what is left of this one, a NaN.
            self._tr_loss.zero_()

    def _step_figures(self) -> StepFigures:
        """Return the step's figures; the one place where training waits for the device."""
        shares = torch.stack([batch.output.loss.double() for batch in self._batches])
        loss: Tensor = self.accelerator.reduce(shares.sum(), reduction="sum")
        step, norm = self.state.global_step + 1, self._grad_norm
        if norm is None or self.accelerator.scaler is not None:
            return StepFigures(step=step, loss=float(loss), grad_norm=None)
        length = whole(norm).to(loss) if isinstance(norm, Tensor) else loss.new_tensor(norm)
        total, grad_norm = torch.stack([loss, length]).tolist()
        return StepFigures(step=step, loss=total, grad_norm=grad_norm)

    def _rows_of_all_ranks(self, batches: Sequence[_MicroBatch]) -> list[dict[str, Any]]:
        rank = self.args.process_index
        rows = [
            micro_batch_row(batch.output, batch.objective, batch.places, rank) for batch in batches
        ]
        gathered: list[dict[str, Any]] = gather_object(rows)
        return gathered


def _load(batch: dict[str, Tensor]) -> Load:
    records = len(batch.get(RECORDS, ()))
    is_pack = "attention_mask" not in batch and records > 0
    return Load(
        records=records,
        tokens=batch["input_ids"].numel() if is_pack else 0,
        packs=1 if is_pack else 0,
    )


class _Steps(TrainerCallback):
    """Tells a trainer where it is."""

    def __init__(self, trainer: MeasuredTrainer) -> None:
        self._trainer = trainer

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._trainer.begin_run()

    @override
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._trainer.measure_groups()
        self._trainer.judge_step()

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._trainer.end_step()
