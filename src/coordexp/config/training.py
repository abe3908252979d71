"""The block `training`: transformers' argument names, with types.

Left out on purpose: every argument of `transformers.TrainingArguments` that would change what our
loss means (label smoothing, Liger kernels) and those that nobody has needed yet.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from coordexp.config.block import (
    Block,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Share,
    kind_of_value,
)
from coordexp.errors import ConfigError

Scheduler = Literal[
    "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"
]
OptimizerName = Literal["multimodal", "multimodal_coord_offset"]
ObjectiveBackend = Literal["auto", "reference", "fused", "triton"]
Trackers = Annotated[
    Annotated[str, Tag("text")] | Annotated[tuple[str, ...], Tag("list")],
    Discriminator(kind_of_value),
]


class DetectionEval(Block):
    """Answers of saved checkpoints, scored while the run goes on; the best is kept in `best/`."""

    steps: PositiveInt | None = None
    """Steps between evaluations, a multiple of `save_steps`, because a checkpoint is asked; null is
    none at all."""
    records: PositiveInt = 100
    """How many records of `data.eval` are asked about, spread evenly over the file."""
    patience: PositiveInt | None = None
    """End the run after so many evaluations in a row without a higher AP; null never does."""


class Training(Block):
    """How long, how fast, how often: passed on to transformers' Trainer unless said otherwise."""

    output_dir: Path
    """Where checkpoints and logs go; a run that was stopped goes on there."""
    num_train_epochs: PositiveFloat = 1.0
    """Passes over the data; `max_steps` wins where it is set."""
    max_steps: Annotated[int, Field(ge=-1)] = -1
    """Optimizer steps; -1 counts epochs instead."""
    per_device_train_batch_size: PositiveInt = 1
    """Records in one forward pass on one device."""
    per_device_eval_batch_size: PositiveInt = 1
    """The same for evaluation."""
    gradient_accumulation_steps: PositiveInt | None = None
    """Forward passes in one optimizer step; null is 1, or what `effective_batch_size` needs."""
    effective_batch_size: PositiveInt | None = None
    """Records in one optimizer step over all devices. It sets the accumulation and must divide
    evenly."""
    learning_rate: PositiveFloat = 1e-4
    """Peak rate; of the language model where the other towers have their own."""
    vit_lr: PositiveFloat | None = None
    """Rate of the vision tower; null is `learning_rate`."""
    aligner_lr: PositiveFloat | None = None
    """Rate of the aligner between vision and language; null is `learning_rate`."""
    weight_decay: NonNegativeFloat = 0.0
    """AdamW's, on everything but coord offsets, which have their own."""
    adam_beta1: Share = 0.9
    """AdamW's memory of the gradient."""
    adam_beta2: Share = 0.999
    """AdamW's memory of its square."""
    adam_epsilon: PositiveFloat = 1e-8
    """AdamW's floor under the denominator."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients longer than this are scaled down to it; 0 leaves them alone."""
    lr_scheduler_type: Scheduler = "cosine"
    """How the rate falls after the warmup."""
    warmup_steps: NonNegativeFloat = 0.0
    """Steps in which the rate rises from 0: a whole number of steps, or below 1 the share of all
    steps."""
    logging_steps: PositiveInt = 10
    """Optimizer steps between two lines of the log."""
    eval_strategy: Literal["no", "steps", "epoch"] = "no"
    """When to evaluate the loss on `data.eval`."""
    eval_steps: PositiveInt | None = None
    """Steps between evaluations; null is `logging_steps`."""
    detection_eval: DetectionEval = DetectionEval()
    save_strategy: Literal["no", "steps", "epoch"] = "steps"
    """When to write a checkpoint to go on from; the final weights are always written."""
    save_steps: PositiveInt = 500
    """Steps between checkpoints."""
    save_total_limit: PositiveInt | None = None
    """How many checkpoints are kept, the newest; null keeps all."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Of everything random."""
    data_seed: Annotated[int, Field(ge=0)] | None = None
    """Of the order of records; null is `seed`."""
    bf16: bool = False
    """Compute in bfloat16 where that is safe, weights as `model.dtype` says."""
    fp16: bool = False
    """The same in float16, with loss scaling."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    dataloader_num_workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read and encode records; 0 does it in the training process."""
    report_to: Trackers = "tensorboard"
    """Tracker, or list of trackers, of the log: `tensorboard`, `wandb`, ..., or `none`."""
    use_cpu: bool = False
    """Stay on the CPU even where a GPU is."""
    optimizer: OptimizerName | None = None
    """Groups of parameters with their own rate: vision, aligner, language, and with
    `multimodal_coord_offset` the coord offsets. null follows `custom.coord_offset.enabled`; a name
    must agree with it."""
    objective_backend: ObjectiveBackend = "auto"
    """What computes the loss: `reference` on materialised logits, `fused` without them, `triton`
    (experimental) without them in kernels for NVIDIA GPUs, compiled and tested in Triton's
    interpreter but not yet timed on one; `auto` takes one of the first two by the size of the
    vocabulary, and never changes results beyond rounding."""
    global_max_length: PositiveInt | None = None
    """Most tokens that one example may have, image and prompt included, and the size of a pack;
    null sets no limit."""
    overlong: Literal["drop", "fail"] = "fail"
    """What happens to longer examples, before the run starts: `drop` names and counts them, `fail`
    stops at the first. None is ever cut."""
    packing: bool = False
    """Lay several examples into one row of `global_max_length` tokens, none of which sees another.
    A pack counts as one record in the batch sizes."""
    packing_buffer: PositiveInt = 512
    """Examples among which the next one for a pack is chosen."""
    packing_min_fill_ratio: Share = 0.6
    """Share of a pack that should be filled: below it on average there is a warning, and
    `packing_drop_last` leaves out the last packs below it."""
    packing_drop_last: bool = False
    """Leave out packs at the end of an epoch that are emptier than `packing_min_fill_ratio`, with a
    warning; another epoch leaves out other records."""
    eval_packing: bool = True
    """Pack in evaluations too, where `packing` is on. The figures are the same."""

    @model_validator(mode="after")
    def _no_steps_is_no_run(self) -> Self:
        if self.max_steps == 0:
            raise ValueError("max_steps is a number of steps, or -1 to count epochs; got 0")
        return self

    @model_validator(mode="after")
    def _a_detection_evaluation_asks_a_checkpoint(self) -> Self:
        steps, saves = self.detection_eval.steps, self.save_strategy == "steps"
        if steps is not None and (not saves or steps % self.save_steps):
            raise ValueError(
                "detection_eval asks saved checkpoints: it needs save_strategy: steps, and "
                f"detection_eval.steps {steps} must be a multiple of save_steps {self.save_steps}"
            )
        return self

    @model_validator(mode="after")
    def _patience_needs_evaluations(self) -> Self:
        if self.detection_eval.patience is not None and self.detection_eval.steps is None:
            raise ValueError("detection_eval.patience counts evaluations: set detection_eval.steps")
        return self

    @model_validator(mode="after")
    def _a_pack_has_a_size(self) -> Self:
        if self.packing and self.global_max_length is None:
            raise ValueError("packing needs global_max_length, the tokens of a pack")
        return self

    @model_validator(mode="after")
    def _a_pack_is_a_row(self) -> Self:
        sizes = {
            "per_device_train_batch_size": self.per_device_train_batch_size,
            "per_device_eval_batch_size": self.per_device_eval_batch_size,
        }
        for key, training in zip(sizes, (True, False), strict=True):
            if self.packs(training=training) and sizes[key] > 1:
                raise ValueError(
                    f"{key} must be 1 with packing, got {sizes[key]}: a pack is one row; "
                    "raise global_max_length for more tokens at once"
                )
        return self

    @model_validator(mode="after")
    def _one_of_two_precisions(self) -> Self:
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 exclude each other")
        return self

    @model_validator(mode="after")
    def _warmup_is_steps_or_a_share(self) -> Self:
        if self.warmup_steps >= 1 and not self.warmup_steps.is_integer():
            raise ValueError(
                "warmup_steps is a whole number of steps, or below 1 the share of all steps; "
                f"got {self.warmup_steps:g}"
            )
        return self

    @model_validator(mode="after")
    def _one_of_two_batch_sizes(self) -> Self:
        if self.effective_batch_size is None:
            return self
        if self.gradient_accumulation_steps is not None:
            raise ValueError(
                "effective_batch_size sets the accumulation; drop gradient_accumulation_steps"
            )
        if self.effective_batch_size % self.per_device_train_batch_size:
            raise ValueError(self._no_multiple(1))
        return self

    def packs(self, *, training: bool) -> bool:
        """Return whether the examples of training, or of evaluations, are packed."""
        return self.packing and (training or self.eval_packing)

    def accumulation_steps(self, *, world_size: int) -> int:
        """Return how many forward passes one optimizer step takes on each of `world_size` devices.

        Raises:
            ConfigError: If `effective_batch_size` is no multiple of what one forward pass takes.
        """
        if self.effective_batch_size is None:
            return self.gradient_accumulation_steps or 1
        at_once = self.per_device_train_batch_size * world_size
        if self.effective_batch_size % at_once:
            raise ConfigError("training: " + self._no_multiple(world_size))
        return self.effective_batch_size // at_once

    def _no_multiple(self, world_size: int) -> str:
        return (
            f"effective_batch_size {self.effective_batch_size} is no multiple of "
            f"per_device_train_batch_size {self.per_device_train_batch_size} on "
            f"{world_size} device(s)"
        )
