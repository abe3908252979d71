"""The two Trainers with the stage-1 loss: anybody's, and that of a run of ours.

Here is what they are made of; what they override of transformers' is `training.loop.seams`'.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from coordexp.errors import InputError
from coordexp.families.recurrent_layers import check_recurrent_layers
from coordexp.model.adapters import base_model
from coordexp.objective import Stage1Output
from coordexp.training.keep.resume import (
    Resumable,
    SaveAfterEvaluation,
    load_states,
    restore_states,
    resumables_of,
    states_of,
)
from coordexp.training.keep.saving import CheckpointKeeper
from coordexp.training.keep.weights import LearnerFiles
from coordexp.training.loop.engines import check_fsdp, place_deepspeed
from coordexp.training.loop.optimizer import OptimizerRow, ParameterGroup, optimizer_table
from coordexp.training.loop.seams import TrainerSeams
from coordexp.training.step.loss_function import Objective, install_loss
from coordexp.training.watch.judge import StepJudge
from coordexp.training.watch.monitor import InstabilityMonitor, MonitorSettings
from coordexp.training.watch.speed import SpeedWindow
from coordexp.training.watch.steps import MeasuredSteps, StepMoments

# The key in a checkpoint's states of what transformers sums up.
_SUMS = "sums"


class CoordSoftCEW1LossMixin(TrainerSeams):
    """Gives any `transformers.Trainer` the stage-1 loss.

    Write `class MyTrainer(CoordSoftCEW1LossMixin, Trainer)`; `examples/plain_trainer.py` shows it
    at work. Text and coord terms are divided by the targets of the whole optimizer step, over
    micro-batches and ranks, so that the gradient does not depend on how the records are split. No
    record comes twice in an epoch: a rank that has none left gets an empty batch. An evaluation
    gives losses and no logits: the head does not compute any.

    Args:
        objective: The stage-1 objective; all other arguments are the Trainer's.

    Raises:
        InputError: If the Trainer's arguments would change what the loss means.
        CheckpointError: If examples of a pack would run into one another in the model's layers.
    """

    def __init__(self, *args: Any, objective: Objective, **kwargs: Any) -> None:  # noqa: ANN401 - the Trainer's own
        place_deepspeed(use_cpu=False)
        super().__init__(*args, objective=objective, **kwargs)
        check_arguments(self.args)
        check_fsdp(getattr(self.accelerator.state, "fsdp_plugin", None))
        model = base_model(self.model)
        check_recurrent_layers(model)
        self._loss_function = install_loss(model, objective)

    @property
    def last_output(self) -> Stage1Output:
        """What the loss of the last micro-batch was made of.

        Raises:
            TypeError: If there was none.
        """
        return self._loss_function.last_output


class CoordTrainer(CoordSoftCEW1LossMixin):
    """Our own run: the mixin with optimizer groups, a log that says more, and whole checkpoints.

    Its runs can be killed at any moment and go on to the same end.

    Args:
        groups: Of the optimizer.
        write_extras: Writes what belongs beside the weights into a checkpoint directory.
        pack_size: Tokens that a pack has room for; None where nothing is packed.
        monitor: What counts as unstable; None stops at what is not finite, and writes nothing.
    """

    _watch: MeasuredSteps
    _keeper: CheckpointKeeper
    _groups: Sequence[ParameterGroup]

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the Trainer's own
        objective: Objective,
        groups: Sequence[ParameterGroup],
        write_extras: Callable[[Path], None],
        pack_size: int | None,
        monitor: MonitorSettings | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, objective=objective, **kwargs)
        settings, run = self.args, Path(self.args.output_dir or ".")
        speed = SpeedWindow(settings.device, pack_size=pack_size)
        judge = StepJudge(
            objective,
            None if monitor is None else InstabilityMonitor(run, monitor),
            rank=settings.process_index,
            sum_over_ranks=self._sum_over_ranks,
            scales_loss=self.accelerator.scaler is not None,
        )
        self._keeper = CheckpointKeeper(
            run,
            keep=settings.save_total_limit,
            rank=settings.process_index,
            world_size=settings.world_size,
            wait=self.accelerator.wait_for_everyone,
            states=self._states,
        )
        self._watch = MeasuredSteps(speed, judge)
        self._files = LearnerFiles(run, write_extras, saves=settings.should_save)
        self._groups = groups
        callbacks = SaveAfterEvaluation(), _RestoreAtBegin(self), StepMoments(self._watch)
        for callback in callbacks:
            self.add_callback(callback)

    def optimizer_rows(self) -> list[OptimizerRow]:
        """Return the groups as they were resolved."""
        return optimizer_table(base_model(self.model), self._groups)

    def save_final(self, finish: Callable[[Path], None]) -> None:
        """Write the final weights and cards into the run's directory; the card appears last.

        Args:
            finish: Puts the last hand to what was written, in one process, before it appears.

        Raises:
            CoordExpError: If the disk does not take them.
        """

        def write(directory: Path) -> None:
            self.save_model(str(directory))
            if self.args.should_save:
                finish(directory)

        self._keeper.write_final(write)

    def resumables(self) -> dict[str, Resumable]:
        """Return everything with a state of its own, by name."""
        ours: dict[str, Resumable] = {"speed": self._watch.speed}
        if self._watch.judge.monitor is not None:
            ours["monitor"] = self._watch.judge.monitor
        ours["loss_window"] = self._ledger.training
        return {**resumables_of(self.callback_handler.callbacks), **ours}

    def _states(self) -> dict[str, object]:
        return {**states_of(self.resumables()), _SUMS: self._sums()}

    def begin(self) -> None:
        """Take up the states of the checkpoint that the run goes on from, where there is one."""
        # The intervals are the configuration's, not the checkpoint's.
        self.state.compute_steps(self.args, self.state.max_steps)
        if self._resumed_from is None:
            return
        args = self.args
        states = load_states(
            self._resumed_from,
            rank=args.process_index,
            world_size=args.world_size,
            device=args.device,
        )
        self._restore_sums(states[_SUMS])
        restore_states(self.resumables(), states)


class _RestoreAtBegin(TrainerCallback):
    """Restores when transformers has set all its sums to zero and nothing has been added yet."""

    def __init__(self, trainer: CoordTrainer) -> None:
        self._trainer = trainer

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._trainer.begin()


def check_arguments(args: TrainingArguments) -> None:
    """Refuse arguments that would change what the loss means.

    Raises:
        InputError: For label smoothing, several GPUs in one process, or a loss averaged over ranks.
    """
    if args.n_gpu > 1:
        raise InputError(
            f"{args.n_gpu} GPUs are visible to one process; start one process for each "
            f"(torchrun --nproc_per_node {args.n_gpu} -m coordexp train ...), or show it one with "
            "CUDA_VISIBLE_DEVICES"
        )
    if args.world_size > 1 and not args.average_tokens_across_devices:
        raise InputError("average_tokens_across_devices: false would divide the loss by the ranks")
    if args.label_smoothing_factor:
        raise InputError("label_smoothing_factor does not go with the stage-1 loss")
