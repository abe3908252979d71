"""How much memory a step takes, beside what the device has.

::

    weights       as they are loaded
  + gradients     of what learns, in its dtype
  + AdamW         two more numbers for each that learns, in its dtype
  + activations   the most that forward and backward pass of the first batch held beside these, per
                  token, times the tokens of the largest batch
  = the estimate

The last one is counted, not guessed: `LiveBytes` sees every tensor come and go. So it is that of
this model with this tuner, attention, objective and gradient checkpointing. Not in it: Python and
its libraries, what kernels need for a moment, and the gaps of the allocator. Where only the base's
weights are missing, `coordexp.inspection.plan` counts the same on shapes.
"""

import os
import re
from pathlib import Path

import torch
from torch import nn

from coordexp.config.schema import Config
from coordexp.data.plan.schedule import PackedBatches
from coordexp.export.base_layout import load_base_layout
from coordexp.families.config_file import CONFIG
from coordexp.families.known import load_family
from coordexp.inspection.doctor.first_pass import FirstPass, model_of
from coordexp.inspection.doctor.place import device_name
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.verdict import CheckResult, Pieces
from coordexp.inspection.plan.costs import COMFORTABLE, CostPlan, plan_costs
from coordexp.inspection.plan.table import gigabytes, plan_sheets
from coordexp.model.four_bit import four_bit_bytes, four_bit_pattern, stored_size
from coordexp.model.shards import INDEX_FILE, SINGLE_FILE
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.machine import has_gpu
from coordexp.training.run.setup_errors import MEMORY_ADVICE
from coordexp.viewing.elements import Sheet

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory(pieces: Pieces) -> CheckResult:
    """Estimate what a step takes of the largest batch, without the base's weights too."""
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


def device_memory(config: Config) -> int:
    """Return the bytes that a run may use: of the GPU, or of the machine or its container."""
    if has_gpu(config):
        return int(torch.cuda.get_device_properties(0).total_memory)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    told = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return min(machine, int(told)) if told.isdigit() else machine


def lacks_weights(base: Path) -> bool:
    """Return whether a base is described and its weights are not there yet."""
    weights = (SINGLE_FILE, INDEX_FILE)
    return (base / CONFIG).is_file() and not any((base / name).is_file() for name in weights)


def stored_bytes(config: Config) -> int:
    """Return the bytes of the base's weights as they will be loaded."""
    dtype, base = config.model.dtype, config.model.path
    as_loaded = None if dtype == "auto" else getattr(torch, dtype).itemsize
    family = load_family(base)
    quantised = config.model.quantization is not None
    four_bits = re.compile(four_bit_pattern(family.towers)) if quantised else None
    total = 0.0
    for name, tensor in load_base_layout(base).by_parameter.items():
        if name.startswith(family.unloaded):
            continue
        numbers = tensor.num_bytes // tensor.dtype.itemsize
        if four_bits and four_bits.fullmatch(name.removesuffix(".weight")):
            total += four_bit_bytes(numbers)
        else:
            total += numbers * (as_loaded or tensor.dtype.itemsize)
    return int(total)


def estimate(model: nn.Module, *, peak: int, tokens: int, most_tokens: int) -> dict[str, float]:
    """Return what a step takes, in bytes, by what it is needed for.

    Args:
        model: With its adapters.
        peak: The most bytes that one batch held beside these.
        tokens: Of that batch.
        most_tokens: Of the largest batch.
    """
    parts = {"weights": 0.0, "gradients": 0.0, "AdamW": 0.0}
    for parameter in model.parameters():
        size = stored_size(parameter)
        parts["weights"] += size
        if parameter.requires_grad:
            parts["gradients"] += size
            parts["AdamW"] += 2 * size
    parts["activations"] = peak / tokens * most_tokens
    return parts


def largest_batch(feeds: Feeds, config: Config) -> int:
    """Return the tokens of the largest batch that is to be expected, padding included."""
    plan = feeds.train.plan
    if isinstance(plan, PackedBatches):
        return plan.settings.capacity
    return feeds.longest * config.training.per_device_train_batch_size


def judged_memory(parts: dict[str, float], room: int, device: str, most_tokens: int) -> CheckResult:
    """Judge an estimate against a device."""
    total = sum(parts.values())
    rows = [[name, gigabytes(size), f"{size / total:.0%}"] for name, size in parts.items()]
    rows.append(["in all", gigabytes(total), f"{total / room:.0%} of {gigabytes(room)}"])
    title = f"Memory of a step of {most_tokens:,} tokens, estimated"
    sheets = [Sheet(title, ["for", "needs", "share"], rows)]
    found = f"about {gigabytes(total)} for {most_tokens:,} tokens; {device} has {gigabytes(room)}"
    if total > room:
        return CheckResult("red", found, _way_out(parts), sheets)
    if total > COMFORTABLE * room:
        return CheckResult("yellow", f"{found}: tight", _way_out(parts), sheets)
    return CheckResult("green", found, sheets=sheets)


def planned_memory(plan: CostPlan, room: int, device: str) -> CheckResult:
    """Judge a plan that was made without the base's weights.

    Args:
        plan: Of the run.
        room: Bytes of the device.
        device: In words.
    """
    parts = {cost.name: cost.size for cost in plan.memory}
    judged = judged_memory(parts, room, device, plan.tokens)
    found = f"planned from config.json alone: {judged.found}"
    return CheckResult(judged.verdict, found, judged.advice, plan_sheets(plan, None))


def _way_out(parts: dict[str, float]) -> str:
    if sum(size for name, size in parts.items() if "activations" in name) > parts["weights"]:
        return MEMORY_ADVICE
    return "model.dtype: bfloat16, tuner.train_type: lora, or a smaller base"
