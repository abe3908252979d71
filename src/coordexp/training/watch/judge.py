"""Looks at each step as a whole before it moves a weight.

Between two optimizer steps nothing is read from the device; at the end of each, loss and gradient
are, in one transfer, so that no weight is moved by what is not finite. What counts as unstable, and
what then becomes of the run, is `training.watch.monitor`'s.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.objective import Stage1Output
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.group_figures import clip_factor, group_figures, to_floats, whole
from coordexp.training.watch.monitor import (
    InstabilityMonitor,
    Kind,
    StepFigures,
    event_message,
    event_row,
    micro_batch_row,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _MicroBatch:
    output: Stage1Output
    places: Callable[[], Sequence[str]]


class StepJudge:
    """Keeps what the micro-batches of a step say until the step is judged.

    Args:
        objective: That their losses are of.
        monitor: What counts as unstable; None stops at what is not finite, and writes nothing.
        rank: Of this process; the first one writes and speaks.
        sum_over_ranks: Sums a tensor over all ranks.
        scales_loss: Whether gradients may be infinite for reasons of float16, which has an answer
            of its own.
    """

    def __init__(
        self,
        objective: Objective,
        monitor: InstabilityMonitor | None,
        *,
        rank: int,
        sum_over_ranks: Callable[[Tensor], Tensor],
        scales_loss: bool,
    ) -> None:
        self.monitor = monitor
        self._objective = objective
        self._rank = rank
        self._sum_over_ranks = sum_over_ranks
        self._scales_loss = scales_loss
        self._batches: list[_MicroBatch] = []
        self._norm: Tensor | float | None = None
        self._figures: dict[str, Tensor | float] = {}

    def begin_run(self, step: int) -> None:
        """Take back what a run that goes on behind a step will say again."""
        if self.monitor is not None and self._rank == 0:
            self.monitor.cut_back(step)

    def take(self, output: Stage1Output, places: Callable[[], Sequence[str]]) -> None:
        """Keep what a micro-batch says.

        Args:
            output: Its loss.
            places: Returns where its records stand.
        """
        detached = replace(output, loss=output.loss.detach())
        self._batches.append(_MicroBatch(detached, places))

    def take_norm(self, norm: Tensor | float | None) -> None:
        """Keep the length of the step's gradient before clipping, where it is known."""
        self._norm = norm

    def measure_groups(self, groups: Sequence[Mapping[str, Any]], *, max_grad_norm: float) -> None:
        """Measure the optimizer's groups, in a step that will be logged.

        Args:
            groups: The optimizer's.
            max_grad_norm: That their gradients have been clipped to; 0 is not at all.
        """
        if self._norm is not None:
            factor = clip_factor(self._norm, max_grad_norm)
            self._figures = group_figures(groups, clipped_by=factor)

    def read_groups(self) -> dict[str, float]:
        """Return the figures of the groups, once."""
        figures, self._figures = self._figures, {}
        return to_floats(figures)

    def judge(self, step: int) -> Kind | None:
        """Return what is wrong with a step that the run outlives; its micro-batches are forgotten.

        Args:
            step: Its number, from 1.

        Raises:
            CoordExpError: If the run is to stop.
        """
        batches, self._batches = self._batches, []
        figures = self._step_figures(step, batches)
        kind, median = self._judged(figures)
        if kind is None:
            return None
        monitor, is_first = self.monitor, self._rank == 0
        stops = monitor is None or monitor.stops(kind)
        then = "stopped" if stops else "skipped" if kind == "non_finite" else "went on"
        row = event_row(kind, figures, median, then, self._rows_of_all_ranks(batches))
        if monitor is not None and is_first:
            monitor.write(row)
        if stops:
            raise CoordExpError(event_message(row))
        if is_first:
            logger.warning("%s; %s", event_message(row), then)
        return kind

    def _judged(self, figures: StepFigures) -> tuple[Kind | None, float | None]:
        if self.monitor is not None:
            return self.monitor.judge(figures)
        return (None if figures.is_finite else "non_finite"), None

    def _step_figures(self, step: int, batches: Sequence[_MicroBatch]) -> StepFigures:
        """Return the step's figures; the one place where training waits for the device."""
        shares = torch.stack([batch.output.loss.double() for batch in batches])
        loss, norm = self._sum_over_ranks(shares.sum()), self._norm
        if norm is None or self._scales_loss:
            return StepFigures(step=step, loss=float(loss), grad_norm=None)
        length = whole(norm).to(loss) if isinstance(norm, Tensor) else loss.new_tensor(norm)
        total, grad_norm = torch.stack([loss, length]).tolist()
        return StepFigures(step=step, loss=total, grad_norm=grad_norm)

    def _rows_of_all_ranks(self, batches: Sequence[_MicroBatch]) -> list[dict[str, Any]]:
        rows = [
            micro_batch_row(batch.output, self._objective, batch.places, self._rank)
            for batch in batches
        ]
        gathered: list[dict[str, Any]] = gather_object(rows)
        return gathered
