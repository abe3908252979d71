"""What is looked at in each step: a lost loss in anybody's Trainer, all of it in a run of ours."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from coordexp.objective import Stage1Output
from coordexp.training.watch.judge import StepJudge
from coordexp.training.watch.monitor import check_finite
from coordexp.training.watch.speed import SpeedWindow, load_of

Batches = tuple[list[dict[str, Tensor]], Any]
Draw = Callable[[Iterator[Any]], Batches]
Places = Callable[[], Sequence[str]]


class StepWatch(Protocol):
    """Told of everything that happens in a step."""

    def draw(self, draw: Draw, batches: Iterator[Any]) -> Batches:
        """Return the micro-batches of a step and what they are counted as.

        Args:
            draw: Takes them from an iterator.
            batches: That iterator.
        """

    def micro_batch(self) -> AbstractContextManager[None]:
        """Stand around a forward pass and the backward pass after it."""

    def look_at(self, output: Stage1Output, places: Places) -> None:
        """Look at a loss, between the two passes or in an evaluation.

        Args:
            output: The loss.
            places: Returns where its records stand.

        Raises:
            CoordExpError: If it is not finite, and nobody will look at the whole step.
        """

    def take_norm(self, norm: Tensor | float | None) -> None:
        """Keep the length of the step's gradient before clipping, where it is known."""

    def read(self, gather: Callable[[Tensor], Tensor], /) -> dict[str, float]:
        """Return what there is for a line of the log.

        Args:
            gather: Returns a row for each rank.
        """


class FiniteLoss:
    """Stops at a loss that is not finite, and says nothing else."""

    def draw(self, draw: Draw, batches: Iterator[Any]) -> Batches:
        """Return the micro-batches."""
        return draw(batches)

    def micro_batch(self) -> AbstractContextManager[None]:
        """Stand around nothing."""
        return nullcontext()

    def look_at(self, output: Stage1Output, places: Places) -> None:
        """Look at a loss, as `check_finite` does."""
        check_finite(output, places)

    def take_norm(self, norm: Tensor | float | None) -> None:
        """Forget the norm."""

    def read(self, _: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return nothing."""
        return {}


class MeasuredSteps:
    """Measures steps, and has each judged as a whole before it moves a weight.

    Args:
        speed: Where the time goes.
        judge: Who judges.
    """

    def __init__(self, speed: SpeedWindow, judge: StepJudge) -> None:
        self.speed = speed
        self.judge = judge
        self._within = False

    def draw(self, draw: Draw, batches: Iterator[Any]) -> Batches:
        """Return the micro-batches, and measure how long they took to come."""
        self.speed.begin_step()
        drawn, counts = draw(self.speed.waiting_for(batches))
        for batch in drawn:
            self.speed.add_load(load_of(batch))
        return drawn, counts

    @contextmanager
    def micro_batch(self) -> Iterator[None]:
        """Measure the two passes."""
        self._within = True
        self.speed.clock.enter("forward")
        try:
            yield
        finally:
            self.speed.clock.enter(None)
            self._within = False

    def look_at(self, output: Stage1Output, places: Places) -> None:
        """Keep a loss for its step; outside of steps, as `check_finite` does."""
        if not self._within:
            check_finite(output, places)
            return
        self.speed.clock.enter("backward")
        self.speed.add_targets(output.counts.text + output.counts.coord)
        self.judge.take(output, places)

    def take_norm(self, norm: Tensor | float | None) -> None:
        """Keep the norm for the judge."""
        self.judge.take_norm(norm)

    def read(self, gather: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the figures of groups and speed."""
        return self.judge.read_groups() | self.speed.read(gather)


class StepMoments(TrainerCallback):
    """Tells those who measure where a Trainer is.

    Args:
        steps: Who measure.
    """

    def __init__(self, steps: MeasuredSteps) -> None:
        self._steps = steps

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._steps.judge.begin_run(state.global_step)

    @override
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        judge, step = self._steps.judge, state.global_step + 1
        optimizer: torch.optim.Optimizer = others["optimizer"]
        if step % (int(state.logging_steps) or 1) == 0:
            judge.measure_groups(optimizer.param_groups, max_grad_norm=args.max_grad_norm)
        if judge.judge(step) == "non_finite":
            optimizer.zero_grad()  # AdamW leaves alone what has no gradient

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._steps.speed.end_step()
