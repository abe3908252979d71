"""What a checkpoint must carry so that a resumed run ends in the same bits.

transformers saves weights, optimizer, schedule, step counts and the random states of every rank. It
forgets the sums between two lines of the log and those of the whole run, and every callback's; and
it would train one step too many where a run is killed after its last checkpoint.

Give a callback these two methods, and its state is saved with every checkpoint, on every rank, and
restored when the run begins::

    class Counter(TrainerCallback):
        seen = 0

        def state_dict(self) -> dict[str, object]:
            return {"seen": self.seen}

        def load_state_dict(self, state: Mapping[str, object]) -> None:
            self.seen = state["seen"]

A state is made of tensors, numbers, text, None, lists, tuples and dictionaries. It is taken when
the checkpoint is written: after the step's log line and evaluation, before `on_save`. So what a
callback does in `on_save` is repeated by nobody when the run is killed there; let it look in
`on_train_begin` whether its work for `state.global_step` is done. transformers' `ExportableState`
is not used: it builds the callbacks anew, from JSON, and knows rank zero only.

Not covered: another number of processes than the checkpoint was written by.
"""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy
from typing_extensions import override

from coordexp.errors import InputError


@runtime_checkable
class Resumable(Protocol):
    """Has a state that belongs into a checkpoint."""

    def state_dict(self) -> Mapping[str, object]:
        """Return the state, of this rank."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state."""


def resumables_of(callbacks: Iterable[TrainerCallback]) -> dict[str, Resumable]:
    """Return the callbacks that have a state of their own, by class and number."""
    found: dict[str, Resumable] = {}
    for callback in callbacks:
        if isinstance(callback, Resumable):
            kind = type(callback).__name__
            alike = sum(type(one).__name__ == kind for one in found.values())
            found[f"{kind} {alike}"] = callback
    return found


def states_of(things: Mapping[str, Resumable]) -> dict[str, object]:
    """Return the state of each thing."""
    return {name: thing.state_dict() for name, thing in things.items()}


def restore_states(things: Mapping[str, Resumable], states: Mapping[str, Any]) -> None:
    """Give each thing the state that a checkpoint holds for it; a new thing begins anew."""
    for name, thing in things.items():
        if name in states:
            thing.load_state_dict(states[name])


def load_states(
    checkpoint: Path, *, rank: int, world_size: int, device: torch.device
) -> dict[str, Any]:
    """Return the states of one rank, on its device.

    Raises:
        InputError: As `find_state` does.
    """
    path = find_state(checkpoint, rank=rank, world_size=world_size)
    # torch cannot restore to "cpu:0", which accelerate names the CPU of a rank.
    place = "cpu" if device.type == "cpu" else device
    states: dict[str, Any] = torch.load(path, map_location=place, weights_only=True)
    return states


class RunClock:
    """Seconds of a run, those before it was stopped included."""

    def __init__(self) -> None:
        self.before = 0.0
        self._started = time.time()

    def start(self) -> None:
        """Begin with this part of the run."""
        self._started = time.time()

    def seconds(self) -> float:
        """Return what the run has taken so far."""
        return self.before + time.time() - self._started


class SaveAfterEvaluation(TrainerCallback):
    """Puts off a checkpoint at an epoch's last step until the epoch's evaluation is done.

    A run that is resumed there begins with the next epoch, and the evaluation would be missing.
    """

    def __init__(self) -> None:
        self._waiting = False

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        ends = control.should_training_stop or float(state.epoch).is_integer()
        if args.eval_strategy == IntervalStrategy.EPOCH and control.should_save and ends:
            control.should_save = False
            self._waiting = True

    @override
    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        control.should_save = control.should_save or self._waiting
        self._waiting = False


def find_state(checkpoint: Path, *, rank: int, world_size: int) -> Path:
    """Return the file with the states of one rank.

    Raises:
        InputError: If the checkpoint was written by another number of processes.
    """
    path = checkpoint / state_name(rank, world_size)
    if path.is_file():
        return path
    others = [found.stem.rpartition("_of_")[2] for found in checkpoint.glob("state_rank_*_of_*.pt")]
    if others:
        raise InputError(
            f"{checkpoint} was written by {others[0]} process(es), this is a run of {world_size}; "
            f"start {others[0]}, or begin anew from its weights with tuner.resume_adapter"
        )
    raise InputError(f"{checkpoint}: {path.name} is missing; remove this checkpoint")


def state_name(rank: int, world_size: int) -> str:
    """Return the name of the file that holds the states of one rank."""
    return f"state_rank_{rank}_of_{world_size}.pt"
