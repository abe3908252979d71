"""Whether the run would learn: who does, what the loss is made of, where its gradient goes.

The trainer is the run's own, built by the run's code on the run's first batch; it writes into a
temporary folder.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from coordexp.config.schema import Config
from coordexp.families.known import load_family
from coordexp.inspection.doctor.first_pass import (
    FirstPass,
    first_batch,
    model_of,
    prepare,
    taught,
)
from coordexp.inspection.doctor.memory import device_memory, stored_bytes
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, judged
from coordexp.inspection.doctor.vocabulary import KnownVocab
from coordexp.inspection.plan.live_bytes import LiveBytes
from coordexp.inspection.plan.table import gigabytes
from coordexp.model.adapters import base_model
from coordexp.model.coord_offset import reattach_coord_offset_hooks
from coordexp.objective import CoordWeights
from coordexp.objective.terms import TERMS
from coordexp.rendering.encode import Encoder
from coordexp.training.loop.optimizer import TABLE_HEAD, OptimizerRow, ignored_rates, table_cells
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.build import build_objective
from coordexp.training.run.experts_note import experts_note
from coordexp.training.run.stage1 import assemble_trainer
from coordexp.training.watch.diagnostics import LossWindow, total_loss
from coordexp.viewing.elements import Sheet

# LoRA's first matrix gets no gradient while the second one is still zero.
_STARTS_WITHOUT_GRADIENT = "lora_A"


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where the trainer may write.

    Args:
        config: The run's, with a temporary output directory and without DeepSpeed.
    """

    config: Config


def parameters(pieces: Pieces) -> CheckResult:
    """Load the model as the run does, and show who learns and how fast."""
    config, scratch = pieces.take(Config), pieces.take(Scratch).config
    vocab, encoder = pieces.take(KnownVocab).vocab, pieces.take(Encoder)
    feeds = pieces.take(Feeds)
    weights, room = stored_bytes(config), device_memory(config)
    if weights > room:
        return CheckResult(
            "red",
            f"the weights alone take {gigabytes(weights)}, the device has {gigabytes(room)}",
            "a larger device, a smaller base, or model.dtype: bfloat16",
        )
    trainer = assemble_trainer(scratch, vocab, encoder, feeds.train, feeds.held_out, callbacks=[])
    pieces.put(trainer)
    result = judged_groups(
        trainer.optimizer_rows(), base_model_size(trainer), ignored_rates(config)
    )
    model, family = base_model(model_of(trainer)), load_family(config.model.path)
    notes = experts_note(config, model, family)
    return replace(result, found="; ".join((result.found, *notes)))


def base_model_size(trainer: CoordTrainer) -> int:
    """Return how many numbers a trainer's model holds, learning or not."""
    return sum(parameter.numel() for parameter in model_of(trainer).parameters())


def judged_groups(rows: Sequence[OptimizerRow], total: int, ignored: Sequence[str]) -> CheckResult:
    """Judge the resolved groups of the optimizer."""
    learn = sum(row.parameters for row in rows)
    if not learn:
        return CheckResult("red", "nothing learns", "unfreeze a tower (tuner.freeze_*)")
    groups = {row.group: row.lr for row in rows}
    told = ", ".join(f"{name} at {rate:g}" for name, rate in groups.items())
    found = f"{learn:,} of {total:,} parameters learn ({learn / total:.2%}): {told}"
    sheets = [Sheet("Who learns, and how fast", TABLE_HEAD, table_cells(rows))]
    if ignored:
        return CheckResult("yellow", f"{found}; {'; '.join(ignored)}", "remove the rate", sheets)
    return CheckResult("green", found, sheets=sheets)


def loss(pieces: Pieces) -> CheckResult:
    """Run the first batch forwards and backwards, and show what its loss is made of."""
    config, trainer = pieces.take(Config), pieces.take(CoordTrainer)
    prepare(trainer)
    inputs = first_batch(pieces.take(Feeds), trainer)
    with LiveBytes(model_of(trainer)) as memory_used:
        taught(trainer, inputs).backward()
    output = trainer.last_output
    window = LossWindow(build_objective(config, pieces.take(KnownVocab).vocab))
    window.add(output)
    figures = window.read(lambda sums: sums)
    pieces.put(FirstPass(inputs, output, figures, memory_used.peak, inputs["input_ids"].numel()))
    return judged_loss(figures, config)


def judged_loss(figures: dict[str, float], config: Config) -> CheckResult:
    """Judge the terms of a batch's loss."""
    block = config.custom.coord_soft_ce_w1
    weights = CoordWeights(**block.weights)
    total = total_loss(figures)
    terms = [("text", figures["base_ce/loss"], 1.0, figures["base_ce/tokens"])]
    terms += [
        (term.name, figures[term.metric], weights[term.name], figures["coord_diag/coord_tokens"])
        for term in TERMS
        if figures["coord_diag/enabled"]
    ]
    rows = [
        (
            name,
            f"{mean:.4f}",
            f"{weight:g}",
            f"{mean * weight:.4f}",
            f"{mean * weight / total:.1%}",
            f"{targets:,.0f}",
        )
        for name, mean, weight, targets in terms
    ]
    head = ["term", "mean", "weight", "in the loss", "share", "targets"]
    outside = [term.weight_key for term in TERMS if term.needs_outside]
    doubts = [
        Doubt(
            block.enabled and not any(weights.values()),
            "red",
            "every coord term has weight 0: coordinates are not taught",
            "give custom.coord_soft_ce_w1 weights, or start from a preset",
        ),
        Doubt(
            block.enabled and not figures["coord_diag/coord_tokens"],
            "yellow",
            "no coordinate in it: no record has an object",
            "look at data.train",
        ),
        Doubt(
            block.enabled and not weights.teach_outside,
            "yellow",
            f"{' and '.join(outside)} 0: nothing teaches to write a coord token at all",
            f"set custom.coord_soft_ce_w1.{outside[0]}: 1.0",
        ),
    ]
    parts = ", ".join(f"{name} {mean * weight:.3f}" for name, mean, weight, _ in terms if weight)
    found = f"{total:.4f} = {parts}"
    return judged(found, doubts, [Sheet("The loss of the first batch", head, rows)])


def gradient(pieces: Pieces) -> CheckResult:
    """Look whether the gradient reaches everything that learns, and nothing else."""
    pieces.take(FirstPass)
    config, trainer = pieces.take(Config), pieces.take(CoordTrainer)
    model = model_of(trainer)
    if config.custom.coord_offset.enabled:
        reattach_coord_offset_hooks(model)
    if faults := gradient_faults(model):
        advice = "something between config and model is broken; this is worth an issue"
        return CheckResult("red", "; ".join(faults), advice)
    optimizer = trainer.create_optimizer()
    members: dict[str, list[nn.Parameter]] = {}
    for group in optimizer.param_groups:  # a tower is two of them, with and without decay
        members.setdefault(group["name"], []).extend(group["params"])
    rows, dead = [], []
    for name, parameters in members.items():
        gradients = [one.grad.float() for one in parameters if one.grad is not None]
        norm = math.sqrt(sum(float(one.square().sum()) for one in gradients))
        rows.append([name, f"{len(parameters):,}", f"{norm:.3g}"])
        dead += [] if norm else [name]
    trainer.optimizer = None
    sheets = [Sheet("Gradient of the first batch", ["group", "tensors", "norm"], rows)]
    if dead:
        found = f"the gradient of {', '.join(dead)} is zero"
        return CheckResult("red", found, "is there an object in the first records?", sheets)
    frozen = sum(not parameter.requires_grad for parameter in model.parameters())
    found = f"reaches every group, and none of the {frozen:,} frozen tensors"
    return CheckResult("green", found, sheets=sheets)


def gradient_faults(model: nn.Module) -> list[str]:
    """Return where the gradient has not come and should have, and where it has and should not."""
    missing, leaking, still = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            missing.append(name)
        elif parameter.requires_grad and not parameter.grad.any():  # type: ignore[union-attr]
            still.append(name)
        elif not parameter.requires_grad and parameter.grad is not None:
            leaking.append(name)
    still = [name for name in still if _STARTS_WITHOUT_GRADIENT not in name]
    kinds = {
        "the gradient does not reach {}": missing,
        "the gradient of {} is zero": still,
        "{} is frozen and gets a gradient": leaking,
    }
    return [
        words.format(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        for words, names in kinds.items()
        if names
    ]
