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
its libraries, what kernels need for a moment, and the gaps of the allocator.
"""

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from coordexp.config.schema import Config
from coordexp.data.plan.schedule import PackedBatches
from coordexp.inspection.doctor.place import gigabytes
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.verdict import CheckResult
from coordexp.model.shards import load_weights
from coordexp.training.run.machine import has_gpu
from coordexp.training.run.setup_errors import MEMORY_ADVICE
from coordexp.viewing.elements import Sheet

# Share of the device that the estimate may take before it is called tight.
_COMFORTABLE = 0.9
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that a block makes and holds, on whatever device.

    Of parameters' gradients only those count that are not accumulated yet.

    Args:
        model: Whose gradients are meant.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: weakref.WeakSet[UntypedStorage] = weakref.WeakSet()
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._without_gradient)
            for parameter in model.parameters()
            if parameter.requires_grad
        ]

    @override
    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    @override
    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Run an operation, and count what it has made."""
        given = {**(kwargs or {})}
        for storage in _storages((args, given)):
            self._known.add(storage)
        result = func(*args, **given)
        for storage in _storages(result):
            if storage not in self._known:
                self._known.add(storage)
                self._count(storage.nbytes())
                weakref.finalize(storage, self._count, -storage.nbytes()).atexit = False
        return result

    def _count(self, change: int) -> None:
        self._live += change
        self.peak = max(self.peak, self._live)

    def _without_gradient(self, parameter: Tensor) -> None:
        # It goes on living, and is counted apart; when it dies it must not be taken off again.
        if parameter.grad is not None and parameter.grad.untyped_storage() in self._known:
            self._count(-parameter.grad.untyped_storage().nbytes())


def _storages(values: object) -> list[UntypedStorage]:
    return [one.untyped_storage() for one in tree_leaves(values) if isinstance(one, Tensor)]


def device_memory(config: Config) -> int:
    """Return the bytes that a run may use: of the GPU, or of the machine or its container."""
    if has_gpu(config):
        return int(torch.cuda.get_device_properties(0).total_memory)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    told = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    return min(machine, int(told)) if told.isdigit() else machine


def stored_bytes(config: Config) -> int:
    """Return the bytes of the base's weights as they will be loaded."""
    dtype = config.model.dtype
    as_loaded = None if dtype == "auto" else getattr(torch, dtype).itemsize
    return sum(
        tensor.num_bytes // tensor.dtype.itemsize * (as_loaded or tensor.dtype.itemsize)
        for tensor in load_weights(config.model.path).by_name.values()
    )


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
        size = parameter.numel() * parameter.element_size()
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
    if total > _COMFORTABLE * room:
        return CheckResult("yellow", f"{found}: tight", _way_out(parts), sheets)
    return CheckResult("green", found, sheets=sheets)


def _way_out(parts: dict[str, float]) -> str:
    if parts["activations"] > parts["weights"]:
        return MEMORY_ADVICE
    return "model.dtype: bfloat16, tuner.train_type: lora, or a smaller base"
