"""Whether the run would learn: who does, what the loss is made of, where its gradient goes.

The trainer is the run's own, built by the run's code on the run's first batch; it writes into a
temporary folder.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from coordexp.config.schema import Config
from coordexp.inspection.doctor.memory import (
    device_memory,
    estimate,
    judged_memory,
    lacks_weights,
    largest_batch,
    planned_memory,
    stored_bytes,
)
from coordexp.inspection.doctor.place import device_name
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, judged
from coordexp.inspection.doctor.vocabulary import KnownVocab
from coordexp.inspection.plan.costs import plan_costs
from coordexp.inspection.plan.live_bytes import LiveBytes
from coordexp.inspection.plan.table import gigabytes
from coordexp.model.coord_offset import reattach_coord_offset_hooks
from coordexp.objective import CoordWeights, Stage1Output
from coordexp.objective.terms import TERMS
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from coordexp.training.loop.optimizer import TABLE_HEAD, OptimizerRow, ignored_rates, table_cells
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.build import build_objective
from coordexp.training.run.machine import has_gpu
from coordexp.training.run.stage1 import assemble_trainer
from coordexp.training.watch.diagnostics import LossWindow, total_loss
from coordexp.viewing.elements import Sheet

# Batches among which one that teaches something is looked for, where no record has an object.
_BATCHES_TRIED = 8
# LoRA's first matrix gets no gradient while the second one is still zero.
_STARTS_WITHOUT_GRADIENT = "lora_A"


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where the trainer may write.

    Args:
        config: The run's, with a temporary output directory and without DeepSpeed.
    """

    config: Config


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
    return judged_groups(trainer.optimizer_rows(), base_model_size(trainer), ignored_rates(config))


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


def memory(pieces: Pieces) -> CheckResult:
    """Estimate what a step takes (`coordexp.inspection.doctor.memory`), without weights too."""
    config = pieces.take(Config)
    if lacks_weights(config.model.path):
        room = device_memory(config)
        plan = plan_costs(config, gpus=1, room=None, on_cpu=not has_gpu(config))
        return planned_memory(plan, room, device_name(config))
    feeds, first = pieces.take(Feeds), pieces.take(FirstPass)
    most = largest_batch(feeds, config)
    parts = estimate(
        model_of(pieces.take(CoordTrainer)),
        peak=first.peak,
        tokens=first.tokens,
        most_tokens=most,
    )
    return judged_memory(parts, device_memory(config), device_name(config), most)
