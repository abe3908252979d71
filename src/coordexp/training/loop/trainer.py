"""The thin layer over transformers' Trainer: the loss, the optimizer groups and the log are ours.

Everything else, distribution, accumulation, checkpoints, trackers, is transformers' and
accelerate's. Which records every step sees is the plan's (`coordexp.training.loop.planned`).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput
from typing_extensions import override

from coordexp.errors import InputError
from coordexp.model.hidden_head import emitting_hidden_states, install_loss_head
from coordexp.model.plain_weights import (
    generating_with_cache,
    is_wrapped,
    keeps_own_tables,
    load_offset_tables,
    plain_weights,
    save_offset_tables,
)
from coordexp.objective import Stage1Output, StepCounts
from coordexp.objective.masks import count_targets
from coordexp.rendering.collate import TOKEN_TYPES
from coordexp.training.keep.resume import Resumable
from coordexp.training.loop.engines import check_fsdp, gathered_weights, place_deepspeed
from coordexp.training.loop.optimizer import (
    OptimizerRow,
    ParameterGroup,
    group_parameters,
    optimizer_table,
)
from coordexp.training.loop.planned import PlannedTrainer
from coordexp.training.step.feed import RECORDS
from coordexp.training.step.loss_function import Objective, Stage1LossFunction
from coordexp.training.watch.diagnostics import LossWindow, total_loss
from coordexp.training.watch.measured import MeasuredTrainer
from coordexp.training.watch.monitor import check_finite

# What a batch says of itself, and the model does not want to know.
_UNSEEN = (RECORDS, TOKEN_TYPES)


class CoordSoftCEW1LossMixin(PlannedTrainer):
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
    """

    def __init__(self, *args: Any, objective: Objective, **kwargs: Any) -> None:  # noqa: ANN401 - the Trainer's own
        place_deepspeed(use_cpu=False)
        super().__init__(*args, **kwargs)
        check_arguments(self.args)
        check_fsdp(getattr(self.accelerator.state, "fsdp_plugin", None))
        model = base_model(self.model)
        self._head = install_loss_head(model)
        self._objective = objective
        self._loss_function = Stage1LossFunction(self._head, objective)
        model.loss_function = self._loss_function
        # transformers marks some families as not taking loss arguments, and would divide by the
        # accumulation once more.
        self.model_accepts_loss_kwargs = True
        self._train_window = LossWindow(objective)
        self._eval_window = LossWindow(objective)

    @override
    def _get_num_items_in_batch(  # type: ignore[override] # our two counts in place of its one
        self, batch_samples: Sequence[dict[str, Tensor]], device: torch.device
    ) -> StepCounts:
        """Return the targets of the step; transformers calls this with all its micro-batches."""
        coord_ids = self._objective.coord_ids
        counts = [count_targets(batch["labels"], coord_ids) for batch in batch_samples]
        local = torch.tensor(
            [sum(count.text for count in counts), sum(count.coord for count in counts)],
            device=device,
        )
        text, coord = self._sum_over_ranks(local).tolist()
        return StepCounts(text=text, coord=coord)

    @override
    def compute_loss(  # type: ignore[override] # our two counts in place of its one
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: StepCounts | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """Return the share of the step's loss that these inputs carry.

        Raises:
            CoordExpError: If it is not finite, and nobody looks at the whole step.
        """
        # Packs need a call without a cache, whatever the model's configuration says.
        seen = {name: value for name, value in inputs.items() if name not in _UNSEEN}
        call: dict[str, Any] = {**seen, "use_cache": False}
        with emitting_hidden_states(self._head):
            # transformers hands the counts through to the loss function unread, and multiplies the
            # loss by the number of ranks, over which the gradient is averaged afterwards.
            result = super().compute_loss(
                model,
                call,
                return_outputs=return_outputs,
                num_items_in_batch=num_items_in_batch,  # type: ignore[arg-type]
            )
        output, training = self.last_output, model.training
        self.observe_loss(output, lambda: self.places(inputs, training=training))
        window = self._train_window if training else self._eval_window
        window.add(output, inputs.get(TOKEN_TYPES))
        return result

    def observe_loss(self, output: Stage1Output, places: Callable[[], Sequence[str]]) -> None:
        """Look at the terms of a micro-batch.

        Args:
            output: Its loss.
            places: Returns where its records stand.

        Raises:
            CoordExpError: If one is not finite.
        """
        check_finite(output, places)

    @property
    def last_output(self) -> Stage1Output:
        """What the loss of the last micro-batch was made of.

        Raises:
            TypeError: If there was none.
        """
        output = self._loss_function.last
        if output is None:
            raise TypeError("the model did not call its loss function; were labels passed?")
        return output

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
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the loss terms to the rows that transformers logs while training."""
        if "loss" in logs:
            logs |= self._train_window.read(self._sum_over_ranks)
        super().log(logs, start_time)

    @override
    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate, with the same figures on the same scale as in training."""
        self._eval_window = LossWindow(self._objective)
        output = super().evaluation_loop(*args, **kwargs)
        figures = self._eval_window.read(self._sum_over_ranks)
        prefix = kwargs.get("metric_key_prefix", "eval")
        ours = {f"{prefix}_{name}": value for name, value in figures.items()}
        # transformers' own is the mean over batches, whatever the number of their targets.
        ours[f"{prefix}_loss"] = total_loss(figures)
        return output._replace(metrics={**(output.metrics or {}), **ours})

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        summed: Tensor = self.accelerator.reduce(values, reduction="sum")
        return summed


class CoordTrainer(CoordSoftCEW1LossMixin, MeasuredTrainer):
    """Our own run: the mixin with optimizer groups, and checkpoints that are whole.

    Args:
        groups: Of the optimizer.
        write_extras: Writes what belongs beside the weights into a checkpoint directory.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the Trainer's own
        groups: Sequence[ParameterGroup],
        write_extras: Callable[[Path], None],
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self._groups = groups
        self._write_extras = write_extras

    @override
    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW over the groups."""
        if self.optimizer is None:
            kind, arguments = Trainer.get_optimizer_cls_and_kwargs(self.args)
            learner = model or self.model
            if learner is None:
                raise TypeError("there is no model to optimize")
            self.optimizer = kind(group_parameters(learner, self._groups), **arguments)
        return self.optimizer

    @override
    def observe_loss(self, output: Stage1Output, places: Callable[[], Sequence[str]]) -> None:
        """Keep a micro-batch until its whole step is judged."""
        if self.within_step:
            self.keep_for_step(output, self._objective, places)
        else:
            super().observe_loss(output, places)

    def optimizer_rows(self) -> list[OptimizerRow]:
        """Return the groups as they were resolved."""
        return optimizer_table(base_model(self.model), self._groups)

    @override
    def resumables(self) -> dict[str, Resumable]:
        """Return everything with a state of its own, the window of the loss terms included."""
        return {**super().resumables(), "loss_window": self._train_window}

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the weights, once."""
        if self.model is None or not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        # transformers saves nothing at all where every rank's checkpoint holds its own share.
        weights = gathered_weights(self.model)
        if self.args.should_save:
            self._save(output_dir, weights)

    @override
    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        directory = Path(output_dir or self.args.output_dir or ".")
        model = self.accelerator.unwrap_model(self.model)
        own_tables = keeps_own_tables(model)
        plain = plain_weights(model, state_dict) if own_tables else nullcontext(state_dict)
        with generating_with_cache(base_model(model).config), plain as weights:
            super()._save(str(directory), weights)
        if self.args.should_save:
            if own_tables:
                save_offset_tables(model, directory, state_dict)
            self._write_extras(directory)

    @override
    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        inner = self.accelerator.unwrap_model(model or self.model)
        if keeps_own_tables(inner):
            load_offset_tables(inner, Path(resume_from_checkpoint))

    @override
    def _issue_warnings_after_load(self, load_result: _IncompatibleKeys) -> None:
        inner = self.accelerator.unwrap_model(self.model)
        if keeps_own_tables(inner):  # its embedding and head go on from the base and the tables
            missing, unexpected = (
                [name for name in names if not is_wrapped(inner, name)] for names in load_result
            )
            load_result = _IncompatibleKeys(missing, unexpected)
        super()._issue_warnings_after_load(load_result)


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


def base_model(model: nn.Module | None) -> PreTrainedModel:
    """Return the transformers model inside PEFT's wrapper, or the model itself.

    Raises:
        TypeError: If there is none.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(base, PreTrainedModel):
        raise TypeError(f"expected a transformers model, got {type(base).__name__}")
    return base
