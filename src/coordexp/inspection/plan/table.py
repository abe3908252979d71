"""A plan in tables for people, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coordexp.inspection.plan.costs import (
    COMFORTABLE,
    Cost,
    CostPlan,
    PackLimit,
)
from coordexp.viewing.elements import Sheet

_GB = 1e9
_RECORDS = 1000
_HEAD = ("for", "takes", "known", "")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a GPU is taken to be.

    Args:
        gpu: Its name.
        peak: Dense products in half precision, operations a second.
        share: Of the peak that training reaches.
    """

    gpu: str
    peak: float
    share: float


def gigabytes(count: float) -> str:
    """Return a number of bytes for people.

    Example:
        >>> gigabytes(2_340_000_000), gigabytes(51_000)
        ('2.3 GB', '0.1 MB')
    """
    return f"{count / _GB:,.1f} GB" if count >= _GB else f"{count / 1e6:,.1f} MB"


def plan_sheets(plan: CostPlan, pace: Pace | None) -> list[Sheet]:
    """Return the tables of a plan.

    Args:
        plan: The plan.
        pace: Of the GPU; None leaves the time out.
    """
    sheets = [_memory_sheet(plan), Sheet("Disk", _HEAD, [_row(cost) for cost in plan.disk])]
    if plan.limits:
        sheets.insert(1, Sheet("Packs that fit", _HEAD, [_limit(each) for each in plan.limits]))
    sheets.append(Sheet("Time", _HEAD, _time_rows(plan, pace)))
    sheets.append(Sheet("Taken for granted", ("what", "is"), assumptions(plan, pace)))
    return sheets


def plan_json(plan: CostPlan, pace: Pace | None) -> dict[str, Any]:
    """Return a plan as plain values: bytes, tokens, operations and seconds."""
    content = {
        "parameters": plan.parameters,
        "learning": plan.learning,
        "pack_tokens": plan.tokens,
        "gradient_checkpointing": plan.checkpointing,
        "gpus": plan.gpus,
        "gpu_bytes": plan.room,
        "memory": [asdict(cost) for cost in plan.memory],
        "memory_bytes": plan.total,
        "loss_workspace": {"size": plan.own.loss_bytes, "known": "estimated"},
        "packs_that_fit": [{**asdict(each), "known": "estimated"} for each in plan.limits],
        "disk": [asdict(cost) for cost in plan.disk],
        "pass_operations": {"value": plan.own.flops, "known": "counted"},
        "packs_per_step": plan.packs_per_step,
        "records_per_pack": plan.own.examples,
        "assumptions": dict(assumptions(plan, pace)),
    }
    if pace is not None:
        seconds = plan.seconds(plan.packs_per_step, peak=pace.peak, share=pace.share)
        content["step_seconds"] = {"value": seconds, "known": "estimated"}
    return content


def assumptions(plan: CostPlan, pace: Pace | None) -> list[tuple[str, str]]:
    """Return what a plan takes for granted, each with its value."""
    example = plan.example
    told = [
        (
            "an example",
            f"{len(example):,} tokens: a picture of {example.high} x {example.wide}, "
            f"{example.prompt} of prompt, {example.answer} that are learned",
        ),
        ("attention", "each example alone (flash)" if plan.flash else "sdpa, a mask over the pack"),
        ("GPUs", f"{plan.gpus}, each with a model of its own (no FSDP, no ZeRO)"),
        ("not counted", "CUDA's context, scratch space of kernels, gaps of the allocator"),
    ]
    if plan.room is not None:
        told.append(("of a GPU's memory", f"{COMFORTABLE:.0%} is planned with"))
    if pace is not None:
        told.append((f"peak of {pace.gpu}", f"{pace.peak / 1e12:,.0f} TFLOPS, dense, half"))
        told.append(("share of the peak", f"{pace.share:.0%}, never measured here"))
    return told


def _memory_sheet(plan: CostPlan) -> Sheet:
    rows = [_row(cost) for cost in plan.memory]
    of = "" if plan.room is None else f"{plan.total / plan.room:.0%} of {gigabytes(plan.room)}"
    rows.append(["in all", gigabytes(plan.total), "counted", of])
    loss = f"{plan.own.loss.resolved}, {plan.own.loss.rows:,} targets; part of the pass"
    rows.append(["the loss's workspace", gigabytes(plan.own.loss_bytes), "estimated", loss])
    on = "on" if plan.checkpointing else "off"
    learn = f"{plan.learning:,} of {plan.parameters:,} parameters learn"
    title = f"Memory of a GPU, a pack of {plan.tokens:,} tokens, checkpointing {on}; {learn}"
    return Sheet(title, _HEAD, rows)


def _row(cost: Cost) -> Sequence[str]:
    return [cost.name, gigabytes(cost.size), cost.known, cost.remark]


def _limit(limit: PackLimit) -> Sequence[str]:
    points = ", ".join(f"{tokens:,}: {gigabytes(size)}" for tokens, size in limit.counted)
    size = f"{limit.tokens:,} tokens" if limit.tokens else "none"
    name = f"checkpointing {'on' if limit.checkpointing else 'off'}"
    return [name, size, "estimated", f"counted at {points}"]


def _time_rows(plan: CostPlan, pace: Pace | None) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        [
            "a pass over a pack",
            f"{plan.own.flops / 1e12:,.1f} TFLOP",
            "counted",
            f"{plan.own.examples} examples, both directions",
        ]
    ]
    if pace is None:
        rows.append(["a step", "?", "", "name the GPU (--gpu)"])
        return rows
    step = plan.seconds(plan.packs_per_step, peak=pace.peak, share=pace.share)
    packs = -(-_RECORDS // max(plan.own.examples, 1))
    many = plan.seconds(packs, peak=pace.peak, share=pace.share)
    rows.append(["a step", f"{step:,.1f} s", "estimated", f"{plan.packs_per_step} packs"])
    rows.append([f"{_RECORDS:,} records", f"{many / 60:,.1f} min", "estimated", f"{packs} packs"])
    return rows
