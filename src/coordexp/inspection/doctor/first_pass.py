"""The run's first batch, by the trainer's own path."""

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from coordexp.inspection.doctor.records import Feeds
from coordexp.objective import Stage1Output
from coordexp.rendering.encode import IGNORE_INDEX
from coordexp.training.loop.trainer import CoordTrainer

# Batches among which one that teaches something is looked for, where no record has an object.
_BATCHES_TRIED = 8


@dataclass(frozen=True, slots=True)
class FirstPass:
    """One forward and backward pass of the run's first batch.

    Args:
        inputs: The batch.
        output: What the loss is made of.
        figures: The same as training logs it.
        peak: The most bytes that it held beside weights and gradients.
        tokens: Of the batch, padding included.
    """

    inputs: dict[str, Tensor]
    output: Stage1Output
    figures: dict[str, float]
    peak: int
    tokens: int


def prepare(trainer: CoordTrainer) -> None:
    """Bring the model into the state in which training runs it."""
    args, model = trainer.args, model_of(trainer)
    model.train()
    model.zero_grad(set_to_none=True)
    trainer.get_train_dataloader()  # where a loss is not finite, this names its records
    if args.gradient_checkpointing:
        trainer.model.gradient_checkpointing_enable(  # type: ignore[union-attr, operator]
            gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs
        )


def first_batch(feeds: Feeds, trainer: CoordTrainer) -> dict[str, Tensor]:
    """Return the first batch of the run that teaches something, on the device.

    That is one with an object, where there is any: pictures without objects are good records, and
    say nothing of coordinates.
    """
    feed = feeds.train
    batches = feed.plan.batches(0)
    with_objects = (members for members in batches if any(map(feeds.has_objects, members)))
    tried = [*islice(with_objects, 1)] or batches[:_BATCHES_TRIED]
    batch: dict[str, Tensor] = {}
    for members in tried:
        batch = feed.collate_numbered([feed[index] for index in members])
        if (batch["labels"] != IGNORE_INDEX).any():
            break
    return {name: value.to(trainer.args.device) for name, value in batch.items()}


def taught(trainer: CoordTrainer, inputs: dict[str, Tensor]) -> Tensor:
    """Return the loss of a batch by the trainer's own path; dropout falls as the time before."""
    args = trainer.args
    half = torch.bfloat16 if args.bf16 else torch.float16
    cast = torch.autocast(args.device.type, dtype=half, enabled=args.bf16 or args.fp16)
    with torch.random.fork_rng(), cast:
        torch.manual_seed(args.seed)
        result = trainer.compute_loss(model_of(trainer), inputs)
    if not isinstance(result, Tensor):
        raise TypeError("expected the loss alone")
    return result


def model_of(trainer: CoordTrainer) -> nn.Module:
    """Return a trainer's model.

    Raises:
        TypeError: If it has none.
    """
    model = trainer.model
    if not isinstance(model, nn.Module):
        raise TypeError("a trainer without a model")
    return model
