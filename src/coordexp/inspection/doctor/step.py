"""Whether one optimizer step lowers the loss. It is taken on the first batch, and undone."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from coordexp.errors import CoordExpError
from coordexp.inspection.doctor.first_pass import FirstPass, model_of, taught
from coordexp.inspection.doctor.verdict import CheckResult, Pieces
from coordexp.training.loop.trainer import CoordTrainer

# A step that changes the loss by less than this share has not moved the model.
_LEAST_CHANGE = 1e-6


def one_step(pieces: Pieces) -> CheckResult:
    """Take one optimizer step at the full rate on the first batch, and undo it."""
    first, trainer = pieces.take(FirstPass), pieces.take(CoordTrainer)
    before = float(first.output.loss.detach())
    after = loss_after_step(trainer, first.inputs, share=1.0)
    found = f"the loss of the same batch goes from {before:.4f} to {after:.4f}"
    if abs(after - before) <= _LEAST_CHANGE * abs(before):
        advice = "the step is lost: raise the rates, or keep what learns in float32"
        return CheckResult("red", found, advice)
    if after < before:
        return CheckResult("green", found)
    gentle = loss_after_step(trainer, first.inputs, share=0.1)
    if gentle < before:
        return CheckResult(
            "yellow",
            f"{found}, with a tenth of the rates to {gentle:.4f}",
            "the rates are high; set training.warmup_steps, or lower them",
        )
    return CheckResult("red", found, "lower training.learning_rate and the other rates")


def loss_after_step(trainer: CoordTrainer, inputs: dict[str, Tensor], *, share: float) -> float:
    """Return a batch's loss after one step on it; the weights are as before when it returns.

    Args:
        trainer: Its model holds the batch's gradient.
        inputs: The batch.
        share: Of the configured rates.
    """
    model = model_of(trainer)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [parameter.grad for parameter in learning]
    with _restored(learning):
        if trainer.args.max_grad_norm:
            copies = [None if one is None else one.clone() for one in gradients]
            for parameter, copy in zip(learning, copies, strict=True):
                parameter.grad = copy
            nn.utils.clip_grad_norm_(learning, trainer.args.max_grad_norm)
        optimizer = trainer.create_optimizer()
        for group in optimizer.param_groups:
            group["lr"] *= share
        optimizer.step()
        trainer.optimizer = None
        try:
            with torch.no_grad():
                after = float(taught(trainer, inputs))
        except CoordExpError:  # not finite any more
            after = math.inf
    for parameter, gradient in zip(learning, gradients, strict=True):
        parameter.grad = gradient
    return after


@contextmanager
def _restored(learning: Sequence[nn.Parameter]) -> Iterator[None]:
    before = [parameter.detach().clone() for parameter in learning]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(learning, before, strict=True):
                parameter.copy_(value)
