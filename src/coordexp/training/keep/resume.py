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

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, TrainOutput
from typing_extensions import override

from coordexp.errors import CheckpointError, CoordExpError, InputError
from coordexp.model.card import CARD_NAME
from coordexp.training.keep.checkpoint import (
    PARTIAL,
    disk_errors,
    publish_checkpoint,
    publish_files,
    rotate_checkpoints,
)

FINAL = "final"
_SUMS = "sums"


@runtime_checkable
class Resumable(Protocol):
    """Has a state that belongs into a checkpoint."""

    def state_dict(self) -> Mapping[str, object]:
        """Return the state, of this rank."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state."""


class ResumableTrainer(Trainer):
    """A `transformers.Trainer` whose runs can be killed at any moment and go on to the same end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the Trainer's own
        super().__init__(*args, **kwargs)
        self._run = Path(self.args.output_dir or ".")
        self._saving_below: Path | None = None
        self._resumed_from: Path | None = None
        self._seconds_before = 0.0
        self._started = time.time()
        self.add_callback(_SaveAfterEvaluation())
        self.add_callback(_RestoreAtBegin(self))

    def resumables(self) -> dict[str, Resumable]:
        """Return everything with a state of its own, by name."""
        found: dict[str, Resumable] = {}
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, Resumable):
                kind = type(callback).__name__
                alike = sum(type(one).__name__ == kind for one in found.values())
                found[f"{kind} {alike}"] = callback
        return found

    def save_final(self) -> None:
        """Write the final weights and cards into the run's directory; the card appears last.

        Raises:
            CoordExpError: If the disk does not take them.
        """
        with disk_errors(self._run, "the final weights"):
            self.save_model(str(self._run / PARTIAL / FINAL))
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                publish_files(self._run, FINAL, last=CARD_NAME)
                (self._run / PARTIAL).rmdir()
        self.accelerator.wait_for_everyone()

    @override
    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._saving_below = self._run / PARTIAL
        name = f"checkpoint-{self.state.global_step}"
        try:
            with disk_errors(self._run, name):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.is_world_process_zero():
                    publish_checkpoint(self._run, name)
                    rotate_checkpoints(self._run, keep=self.args.save_total_limit)
                    (self._run / PARTIAL).rmdir()
        except CoordExpError:
            shutil.rmtree(self._run / PARTIAL, ignore_errors=True)  # gives its room back
            raise
        finally:
            self._saving_below = None
        self.accelerator.wait_for_everyone()

    @override
    def _get_output_dir(self, trial: Any) -> str:
        """Return where transformers puts `checkpoint-N`, and looks for what to rotate."""
        return str(self._saving_below or super()._get_output_dir(trial))

    @override
    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        states = {name: thing.state_dict() for name, thing in self.resumables().items()}
        states[_SUMS] = self._sums()
        name = _state_name(self.args.process_index, self.args.world_size)
        torch.save(states, Path(output_dir) / name)

    def restore_states(self) -> None:
        """Give everything with a state of its own what the checkpoint holds for it."""
        if self._resumed_from is None:
            return
        path = find_state(
            self._resumed_from, rank=self.args.process_index, world_size=self.args.world_size
        )
        device = self.args.device
        # torch cannot restore to "cpu:0", which accelerate names the CPU of a rank.
        place = "cpu" if device.type == "cpu" else device
        states = torch.load(path, map_location=place, weights_only=True)
        self._restore_sums(states[_SUMS])
        for name, thing in self.resumables().items():
            if name in states:  # a callback may be new
                thing.load_state_dict(states[name])

    def _sums(self) -> dict[str, object]:
        """Return what transformers sums up for the log and forgets."""
        return {
            "loss_since_last_log": self._tr_loss,
            "loss_before": self._total_loss_scalar,
            "last_logged_step": self._globalstep_last_logged,
            "seconds": self._seconds_before + time.time() - self._started,
        }

    def _restore_sums(self, sums: Mapping[str, Any]) -> None:
        self._tr_loss = sums["loss_since_last_log"]
        self._total_loss_scalar = sums["loss_before"]
        self._globalstep_last_logged = sums["last_logged_step"]
        self._seconds_before = sums["seconds"]
        self._initial_global_step = 0

    @override
    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        place = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        self._resumed_from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        self._started = time.time()
        # The intervals are the configuration's, not the checkpoint's.
        self.state.compute_steps(self.args, max_steps)
        return place

    @override
    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse weights of another shape of model, where transformers only warns.

        Raises:
            CheckpointError: If a weight of the model is not in the checkpoint, or the other way.
        """
        state = self.model.state_dict() if self.model is not None else {}
        missing = set(load_result.missing_keys)
        loaded = {value.data_ptr() for name, value in state.items() if name not in missing}
        lost = [name for name in sorted(missing) if state[name].data_ptr() not in loaded]  # tied
        wrong = [*lost, *load_result.unexpected_keys]
        if wrong:
            raise CheckpointError(
                f"{self._run}: the checkpoint is of another model; {len(wrong)} weight(s) do not "
                f"match, the first {wrong[0]}"
            )

    @override
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step >= self.state.max_steps:
            # Killed after the last checkpoint; transformers would train one step more.
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)  # type: ignore[no-untyped-call]

    @override
    def _finalize_training(
        self, trial: Any, num_train_samples: int, start_time: float
    ) -> TrainOutput:
        # The summary is about the whole run.
        output: TrainOutput = super()._finalize_training(  # type: ignore[no-untyped-call]
            trial, num_train_samples, start_time - self._seconds_before
        )
        return output


class _RestoreAtBegin(TrainerCallback):
    """Restores when transformers has set all its sums to zero and nothing has been added yet."""

    def __init__(self, trainer: ResumableTrainer) -> None:
        self._trainer = trainer

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._trainer.restore_states()


class _SaveAfterEvaluation(TrainerCallback):
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
    path = checkpoint / _state_name(rank, world_size)
    if path.is_file():
        return path
    others = [found.stem.rpartition("_of_")[2] for found in checkpoint.glob("state_rank_*_of_*.pt")]
    if others:
        raise InputError(
            f"{checkpoint} was written by {others[0]} process(es), this is a run of {world_size}; "
            f"start {others[0]}, or begin anew from its weights with tuner.resume_adapter"
        )
    raise InputError(f"{checkpoint}: {path.name} is missing; remove this checkpoint")


def _state_name(rank: int, world_size: int) -> str:
    return f"state_rank_{rank}_of_{world_size}.pt"
