"""Where our objects meet transformers' Trainer: all that is overridden of it, in one class.

Everything else, distribution, accumulation, trackers, is transformers' and accelerate's. Some of
what is overridden is private, none of it promised to stay: `tests/training/loop/test_seams.py` says
of each method what it relies on, and fails by its name where a new transformers differs. The
methods hold no thought of their own; those are the objects':

- `step.share.FeedShare`: which records a step sees;
- `step.loss_function.Stage1LossFunction`, `watch.diagnostics.LossLedger`: its loss, and the log;
- `watch.steps.StepWatch`: who looks at a step while it is taken;
- `keep.weights.WeightFiles`, `keep.saving.CheckpointKeeper`: what is written and read, and where.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, TrainOutput
from typing_extensions import override

from coordexp.objective import StepCounts
from coordexp.rendering.collate import TOKEN_TYPES
from coordexp.training.keep.resume import RunClock
from coordexp.training.keep.saving import CheckpointKeeper
from coordexp.training.keep.weights import TheirFiles, WeightFiles
from coordexp.training.loop.engines import check_wrapped, gathered_weights
from coordexp.training.loop.optimizer import ParameterGroup, build_optimizer
from coordexp.training.step.feed import RECORDS
from coordexp.training.step.loss_function import Objective, Stage1LossFunction
from coordexp.training.step.share import evaluation_share, training_share
from coordexp.training.watch.diagnostics import LossLedger
from coordexp.training.watch.steps import FiniteLoss, StepWatch

# What a batch says of itself, and the model does not want to know.
_UNSEEN = (RECORDS, TOKEN_TYPES)


class TrainerSeams(Trainer):
    """A `transformers.Trainer` that asks our objects; as it stands, somebody else's with our loss.

    Args:
        objective: The stage-1 objective; all other arguments are the Trainer's.
    """

    _loss_function: Stage1LossFunction
    _watch: StepWatch = FiniteLoss()
    _files: WeightFiles = TheirFiles()
    _keeper: CheckpointKeeper | None = None
    _groups: Sequence[ParameterGroup] | None = None
    _shuffles = True  # for training, records that bring no plan

    def __init__(self, *args: Any, objective: Objective, **kwargs: Any) -> None:  # noqa: ANN401 - the Trainer's own
        super().__init__(*args, **kwargs)
        # transformers marks some families as not taking loss arguments, and would divide by the
        # accumulation once more.
        self.model_accepts_loss_kwargs = True
        self._objective = objective
        self._ledger = LossLedger(objective, self._sum_over_ranks)
        self._clock = RunClock()
        self._resumed_from: Path | None = None

    # What a step sees

    @override
    def get_train_dataloader(self) -> DataLoader[Any]:
        self._training = training_share(
            self.train_dataset, self.data_collator, self.args, shuffles=self._shuffles
        )
        return self._training.loader(self.args)

    @override
    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        known: Any = self.eval_dataset
        chosen = known if eval_dataset is None else eval_dataset  # perhaps a name
        dataset = known[chosen] if isinstance(chosen, str) else chosen
        self._evaluation = evaluation_share(dataset, self.data_collator, self.args)
        return self._evaluation.loader(self.args)

    @override
    def set_initial_training_values(
        self, args: TrainingArguments, dataloader: DataLoader[Any]
    ) -> tuple[int, int, int, int, int, int | None, int]:
        """Return transformers' figures of the run, its steps counted by the plan."""
        _, _, examples, samples, batch, _, _ = super().set_initial_training_values(args, dataloader)
        epochs, steps = self._training.run_length(args.max_steps, args.num_train_epochs)
        first = self._training.epoch_length(0)
        return epochs, first.steps, examples, samples, batch, first.passes, steps

    @override
    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        """Return the epoch to go on in and its passes that are done."""
        super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        self._resumed_from = Path(resume_from_checkpoint) if resume_from_checkpoint else None
        self._clock.start()
        return self._training.place_in_run(self.state.global_step, max_steps, num_train_epochs)

    @override
    def _run_epoch(  # type: ignore[override] # called by keyword alone
        self, *, epoch: int, **kwargs: Any
    ) -> None:
        """Run one epoch, which has a number of passes and steps of its own."""
        wrapped = self.model_wrapped is not self.model
        check_wrapped(self.accelerator.distributed_type, wrapped=wrapped)
        length = self._training.begin_epoch(epoch)
        kwargs["steps_in_epoch"] = length.passes
        kwargs["num_update_steps_per_epoch"] = length.steps
        super()._run_epoch(epoch=epoch, **kwargs)  # type: ignore[no-untyped-call]

    @override
    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Any]:
        theirs = super().get_batch_samples
        return self._watch.draw(lambda left: theirs(left, num_batches, device), epoch_iterator)

    # What a step minimises

    @override
    def _get_num_items_in_batch(  # type: ignore[override] # our two counts in place of its one
        self, batch_samples: Sequence[dict[str, Tensor]], device: torch.device
    ) -> StepCounts:
        """Return the targets of the step; transformers calls this with all its micro-batches."""
        local = self._objective.count_targets(batch["labels"] for batch in batch_samples)
        counts = torch.tensor([local.text, local.coord], device=device)
        text, coord = self._sum_over_ranks(counts).tolist()
        return StepCounts(text=text, coord=coord)

    @override
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        with self._watch.micro_batch():
            return super().training_step(*args, **kwargs)

    @override
    def compute_loss(  # type: ignore[override] # our two counts in place of its one
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: StepCounts | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the share of the step's loss that these inputs carry."""
        # Packs need a call without a cache, whatever the model's configuration says.
        seen = {name: value for name, value in inputs.items() if name not in _UNSEEN}
        call: dict[str, Any] = {**seen, "use_cache": False}
        with self._loss_function.emitting():
            # transformers hands the counts through to the loss function unread, and multiplies the
            # loss by the number of ranks, over which the gradient is averaged afterwards.
            result = super().compute_loss(
                model,
                call,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,  # type: ignore[arg-type]
            )
        output, training = self._loss_function.last_output, model.training
        self._watch.look_at(output, partial(self._places, inputs, training=training))
        self._ledger.add(output, inputs.get(TOKEN_TYPES), training=training)
        return result

    def _places(self, inputs: Mapping[str, Tensor], *, training: bool) -> list[str]:
        return (self._training if training else self._evaluation).places(inputs)

    @override
    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the loss alone: what stands in for the logits here are hidden states."""
        return super().prediction_step(
            model, inputs, prediction_loss_only=True, ignore_keys=ignore_keys
        )

    @override
    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self._groups is None:
            return super().create_optimizer(*(() if model is None else (model,)))
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.args, model or self.model, self._groups)
        return self.optimizer

    # What is said of it

    @override
    def _get_grad_norm(
        self, model: nn.Module, grad_norm: Tensor | float | None = None
    ) -> Tensor | float | None:
        norm: Tensor | float | None = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        self._watch.take_norm(norm)
        return norm

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        of_training = "loss" in logs
        if of_training:
            logs |= self._ledger.read_training() | self._watch.read(self.accelerator.gather)
        super().log(logs, start_time)
        if of_training and not math.isfinite(logs["loss"]):
            # transformers begins the next sum with what is left of this one, a NaN.
            self._tr_loss.zero_()

    @override
    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate, with the same figures on the same scale as in training."""
        self._ledger.begin_evaluation()
        output = super().evaluation_loop(*args, **kwargs)
        ours = self._ledger.read_evaluation(kwargs.get("metric_key_prefix", "eval"))
        return output._replace(metrics={**(output.metrics or {}), **ours})

    # What is kept of it

    @override
    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        write = partial(super()._save_checkpoint, model, trial)
        if self._keeper is None:
            write()
        else:
            self._keeper.write(self.state.global_step, write)

    @override
    def _get_output_dir(self, trial: Any) -> str:
        """Return where transformers puts `checkpoint-N`, and looks for what to rotate."""
        place = None if self._keeper is None else self._keeper.place
        return super()._get_output_dir(trial) if place is None else str(place)

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.model is None or not (self._files.gathers and self.is_fsdp_enabled):
            super().save_model(output_dir, _internal_call)
            return
        # transformers saves nothing at all where every rank's checkpoint holds its own share.
        self._save(output_dir, gathered_weights(self.model))

    @override
    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        # transformers 5.24 asks every rank, and the writing of ours is for one.
        if not self.args.should_save:
            return
        directory = Path(output_dir or self.args.output_dir or ".")
        model = self.accelerator.unwrap_model(self.model)
        self._files.write(model, directory, state_dict, super()._save)

    @override
    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        inner = self.accelerator.unwrap_model(model or self.model)
        self._files.read(inner, Path(resume_from_checkpoint))

    @override
    def _issue_warnings_after_load(self, load_result: _IncompatibleKeys) -> None:
        inner = self.accelerator.unwrap_model(self.model)
        self._files.check(inner, load_result, super()._issue_warnings_after_load)

    @override
    def _finalize_training(
        self, trial: Any, num_train_samples: int, start_time: float
    ) -> TrainOutput:
        # The summary is about the whole run.
        began = start_time - self._clock.before
        return super()._finalize_training(trial, num_train_samples, began)  # type: ignore[no-any-return, no-untyped-call]

    def _sums(self) -> dict[str, object]:
        """Return what transformers sums up for the log and forgets."""
        return {
            "loss_since_last_log": self._tr_loss,
            "loss_before": self._total_loss_scalar,
            "last_logged_step": self._globalstep_last_logged,
            "seconds": self._clock.seconds(),
        }

    def _restore_sums(self, sums: Mapping[str, Any]) -> None:
        self._tr_loss = sums["loss_since_last_log"]
        self._total_loss_scalar = sums["loss_before"]
        self._globalstep_last_logged = sums["last_logged_step"]
        self._clock.before = sums["seconds"]
        self._initial_global_step = 0

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        summed: Tensor = self.accelerator.reduce(values, reduction="sum")
        return summed
