"""Layers with states, counted once and played from then on.

Such a layer reads an example chunk by chunk, in thousands of small steps, and a pack of seven
examples goes through dozens of these layers. They are all alike, and on shapes a step is as slow as
a large one. So what one of them makes, keeps and multiplies is counted for one example of each
length, and everywhere else a stand-in takes the same room and costs the same operations.

What it does not play: copies of adapters in half precision are counted with every example that uses
them, and not once for all.

Shapes: `B` rows, `T` tokens, `D` width.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import _disable_current_modes
from transformers import PreTrainedModel
from typing_extensions import override

from coordexp.families.recurrent_layers import ReadsApart
from coordexp.inspection.plan.hollow_math import HollowAutocast, HollowMath
from coordexp.inspection.plan.live_bytes import LiveBytes

Read = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class ReadCost:
    """What a layer takes to read one example; sizes in bytes, over what was there before.

    Args:
        dtype: Of what it hands on.
        passing: The most that a forward pass holds which keeps nothing.
        rising: The most that one holds which keeps what the backward pass needs.
        kept: That.
        falling: The most that the backward pass adds.
        forward: Operations.
        backward: Operations.
    """

    dtype: torch.dtype
    passing: int
    rising: int
    kept: int
    falling: int
    forward: int
    backward: int


class StateBook:
    """What reading costs, by the make of a layer and the length of an example.

    Args:
        half: Dtype of mixed precision, None without it.
    """

    def __init__(self, half: torch.dtype | None) -> None:
        self.flops = 0
        self._half = half
        self._costs: dict[object, ReadCost] = {}

    def read(self, layer: nn.Module, read: Read, example: Tensor, others: dict[str, Any]) -> Tensor:
        """Return what a layer makes of an example, without reading it where one like it was read.

        Args:
            layer: Of the model.
            read: Its own forward pass.
            example: Its hidden states.
            others: What the pass takes beside them.
        """
        learning = [one for one in layer.parameters() if one.requires_grad]
        make = tuple((one.shape, one.dtype, one.requires_grad) for one in layer.parameters())
        key = (type(layer), make, example.shape, example.dtype, example.requires_grad)
        if key not in self._costs:
            self._costs[key] = self._counted(layer, read, example, others)
        cost, born = self._costs[key], _Born()
        example = _Keep.apply(example, cost.kept, born, *learning)  # type: ignore[no-untyped-call]
        found: Tensor = _Work.apply(  # type: ignore[no-untyped-call]
            example, cost, self, born.is_kept(), *learning
        )
        return found

    def _counted(
        self, layer: nn.Module, read: Read, example: Tensor, others: dict[str, Any]
    ) -> ReadCost:
        given = example.detach().requires_grad_(example.requires_grad)
        math, memory = HollowMath(), LiveBytes(layer)
        autocast = HollowAutocast(self._half or torch.float32)
        # The pass that is under way counts by modes of its own, and may recompute.
        with _disable_current_modes(), torch.enable_grad(), math, memory, autocast:
            with saved_tensors_hooks(lambda _: None, _nothing):
                read(given, **others)
            autocast.forget_casts()
            passing = memory.peak
            start, forward = memory.begin_anew(), math.flops
            with saved_tensors_hooks(Tensor.detach, lambda kept: kept):
                made = read(given, **others)
            autocast.forget_casts()
            rising, kept = memory.peak - start, memory.live - start - made.nbytes
            forward = math.flops - forward
            gradient = torch.empty_like(made)
            start, backward = memory.begin_anew(), math.flops
            torch.autograd.backward(made, gradient)
            falling, backward = memory.peak - start, math.flops - backward
        layer.zero_grad(set_to_none=True)
        return ReadCost(made.dtype, passing, rising, kept, falling, forward, backward)


class PlaysReading(ReadsApart):
    """A layer with states that looks up what it costs."""

    book: StateBook

    @override
    def forward(
        self,
        hidden_states: Float[Tensor, "B T D"],
        cache_params: object = None,
        attention_mask: Tensor | None = None,
        example_lengths: Sequence[int] | None = None,
        **others: Any,
    ) -> Float[Tensor, "B T D"]:
        """Return shapes alone, as wide as what came."""
        read: Read = super().forward
        if example_lengths is None:
            return self.book.read(self, read, hidden_states, others)
        examples = hidden_states.split(list(example_lengths), dim=1)
        return torch.cat([self.book.read(self, read, one, others) for one in examples], dim=1)


def install_state_book(model: PreTrainedModel, half: torch.dtype | None) -> StateBook:
    """Let the layers with states of a hollow model look up what they cost, and return where.

    Args:
        model: With `install_recurrent_layers` done.
        half: Dtype of mixed precision, None without it.
    """
    book = StateBook(half)
    for layer in model.modules():
        if isinstance(layer, ReadsApart):
            theirs = type(layer)
            layer.__class__ = type(theirs.__name__, (PlaysReading, theirs), {"book": book})
    return book


class _Born:
    """Says whether the graph holds on to what was made for it; a recomputed layer's does not."""

    storage: Callable[[], object | None]

    def is_kept(self) -> bool:
        return self.storage() is not None


class _Keep(torch.autograd.Function):
    """Hands an example on, and keeps room until its gradient has come back."""

    @staticmethod
    @override
    def forward(
        ctx: FunctionCtx, example: Tensor, size: int, born: _Born, *learning: Tensor
    ) -> Tensor:
        kept = example.new_empty(size, dtype=torch.uint8)
        ctx.save_for_backward(kept)
        born.storage = weakref.ref(kept.untyped_storage())
        ctx.count = len(learning)  # type: ignore[attr-defined]
        return example.view_as(example)

    @staticmethod
    @override
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors  # type: ignore[attr-defined]  # recomputed, and let go of
        return gradient, None, None, *[None] * ctx.count  # type: ignore[attr-defined]


class _Work(torch.autograd.Function):
    """Takes the room of both directions for a moment, and hands back gradients of their shapes."""

    @staticmethod
    @override
    def forward(
        ctx: FunctionCtx,
        example: Tensor,
        cost: ReadCost,
        book: StateBook,
        is_kept: bool,
        *learning: Tensor,
    ) -> Tensor:
        made = example.new_empty(example.shape, dtype=cost.dtype)
        most = cost.rising - cost.kept if is_kept else cost.passing
        _take(made, most - made.nbytes)
        book.flops += cost.forward
        ctx.given = (example.shape, example.dtype, cost, book, learning)  # type: ignore[attr-defined]
        return made

    @staticmethod
    @override
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shape, dtype, cost, book, learning = ctx.given  # type: ignore[attr-defined]
        own = gradient.new_empty(shape, dtype=dtype)
        gradients = [torch.empty_like(one) for one in learning]
        _take(own, cost.falling - own.nbytes - sum(one.nbytes for one in gradients))
        book.flops += cost.backward
        return own, None, None, None, *gradients


def _take(like: Tensor, size: int) -> None:
    like.new_empty(max(0, size), dtype=torch.uint8)


def _nothing(_: object) -> Tensor:
    raise AssertionError("a pass that keeps nothing has no way back")
