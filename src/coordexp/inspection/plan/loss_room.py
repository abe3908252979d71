"""What the loss takes: the room of its backends, and a stand-in that takes it without computing.

::

    kept until the backward pass    gradients of the N supervised rows, [N, D]; of the coord rows,
                                    [K, D]; of the head, [V, D], where it learns
    for a moment                    `fused`: a chunk of rows, one tile of logits and its exponents,
                                    a few tiles of coord logits. `triton`: half a gigabyte of
                                    logits, a few chunks of coord logits. `reference`: the logits of
                                    every row, [N, V], and three more of that size

The sizes of chunks and tiles are those of `coordexp.objective.backends`; how many tiles of coord
logits live at once is an estimate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from typing_extensions import override

from coordexp.objective.backends.blocks import CPU_SIZES, OTHER_SIZES
from coordexp.objective.loss import FUSED_FROM

# Of a tile of coord logits: logits, probabilities, targets, running sums, gradients.
_COORD_TILES = 8
# Of the logits of all rows: in float32, their softmax, and two gradients.
_FULL_LOGITS = 4
_SUM_BYTES = 4
_KERNEL_LOGITS = 1 << 29
_KERNEL_ROWS = 2048


@dataclass(frozen=True, slots=True)
class LossShape:
    """How large a problem is.

    Args:
        rows: Supervised tokens, N.
        width: Of the hidden states, D.
        vocabulary: Rows of the head, V.
        bins: Coord ids, K; 0 without them.
        bytes_of_product: Of a number in the products with the head.
        head_learns: Whether the head itself gets a gradient.
        backend: As in the configuration.
        on_cpu: Where it runs.
    """

    rows: int
    width: int
    vocabulary: int
    bins: int
    bytes_of_product: int
    head_learns: bool
    backend: str
    on_cpu: bool

    @property
    def resolved(self) -> str:
        """The backend that `auto` becomes."""
        if self.backend != "auto":
            return self.backend
        return "fused" if self.vocabulary >= FUSED_FROM else "reference"

    @property
    def kept(self) -> int:
        """Bytes that live until the backward pass."""
        each = self.bytes_of_product if self.resolved == "triton" else _SUM_BYTES
        kept = self.rows * self.width * each + self.bins * self.width * _SUM_BYTES
        return kept + self.vocabulary * self.width * self.bytes_of_product * self.head_learns

    @property
    def passing(self) -> int:
        """Bytes that live for a moment in the forward pass."""
        if self.resolved == "reference":
            return _FULL_LOGITS * self.rows * self.vocabulary * _SUM_BYTES
        each = self.bytes_of_product
        if self.resolved == "triton":
            chunk = min(_KERNEL_LOGITS // (self.vocabulary * each), _KERNEL_ROWS, self.rows)
            coords = _COORD_TILES * chunk * self.bins * _SUM_BYTES
            return chunk * (self.vocabulary + self.width) * each + coords
        sizes = CPU_SIZES if self.on_cpu else OTHER_SIZES
        height, chunk = min(sizes.height, self.rows), min(sizes.chunk, self.rows)
        # In float32 the exponents take the place of their logits.
        tile = height * sizes.width * (each if each == _SUM_BYTES else each + _SUM_BYTES)
        coords = _COORD_TILES * min(sizes.coord_height, self.rows) * self.bins * _SUM_BYTES
        return tile + coords + (chunk + sizes.width) * self.width * each

    @property
    def flops(self) -> int:
        """Operations: logits and their product with the head; twice that where the head learns."""
        return (8 if self.head_learns else 4) * self.rows * self.width * self.vocabulary


class LossStandIn(torch.autograd.Function):
    """A number that takes the room of the loss and hands back gradients of the right shape."""

    @staticmethod
    @override
    def forward(ctx: FunctionCtx, hidden: Tensor, head: Tensor, shape: LossShape) -> Tensor:
        kept = hidden.new_empty(shape.kept, dtype=torch.uint8)
        hidden.new_empty(shape.passing, dtype=torch.uint8)
        ctx.save_for_backward(kept, hidden.new_empty(()).expand(hidden.shape), head.detach())
        return hidden.new_empty((), dtype=torch.float32)

    @staticmethod
    @override
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        _, like, head = ctx.saved_tensors  # type: ignore[attr-defined]
        wants_head = ctx.needs_input_grad[1]  # type: ignore[attr-defined]
        gradient = torch.zeros_like(like, memory_format=torch.contiguous_format)
        return gradient, torch.empty_like(head) if wants_head else None, None
