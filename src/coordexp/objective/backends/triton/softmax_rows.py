"""The softmax over a chunk of logits, in place.

Shapes: `n` rows of a chunk, `V` vocabulary. The logits of coord ids have been set to minus infinity
and are dealt with elsewhere.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

_COLUMNS_AT_ONCE = 8192
_WARPS = 16


@dataclass(frozen=True, slots=True)
class OuterRows:
    """What `softmax_rows` returns, looking outside the coord vocabulary only.

    Args:
        lse: logsumexp of the logits.
        top: The largest logit.
        target: The target's logit; 0 without targets.
    """

    lse: Float[Tensor, " n"]
    top: Float[Tensor, " n"]
    target: Float[Tensor, " n"]


def softmax_rows(
    z: Float[Tensor, "n V"],
    inner: Float[Tensor, " n"],
    targets: Int[Tensor, " n"] | None,
    *,
    factor: float,
    gradient: bool,
) -> OuterRows:
    """Return statistics of each row; with `gradient`, turn `z` into the loss's gradient.

    That is `factor` times the probability of each token, in the softmax over outer and coord logits
    together, less 1 at the target.

    Args:
        z: Logits; rows may be further apart than V.
        inner: logsumexp of the row's coord logits.
        targets: Vocabulary ids; None for coord rows.
        factor: See above.
        gradient: See above.
    """
    lse, top, target = inner.new_zeros((3, len(z)))
    if len(z):
        _softmax_rows[(len(z),)](
            z,
            inner,
            inner if targets is None else targets,
            lse,
            top,
            target,
            z.stride(0),
            z.shape[1],
            factor=factor,
            has_target=targets is not None,
            gradient=gradient,
            sum_type=tl.float64 if inner.dtype == torch.float64 else tl.float32,
            columns_at_once=min(_COLUMNS_AT_ONCE, triton.next_power_of_2(z.shape[1])),
            num_warps=_WARPS,
            enable_fp_fusion=True,
        )
    return OuterRows(lse, top, target)


@triton.jit
@no_type_check  # jaxtyping's wrapper would hide the module's names from the compiler
def _softmax_rows(  # noqa: PLR0913, PLR0917 - a kernel takes its pointers one by one
    z: tl.tensor,
    inner: tl.tensor,
    targets: tl.tensor,
    lse: tl.tensor,
    top: tl.tensor,
    target: tl.tensor,
    stride: tl.tensor,
    vocab_size: tl.tensor,
    factor: tl.constexpr,
    has_target: tl.constexpr,
    gradient: tl.constexpr,
    sum_type: tl.constexpr,
    columns_at_once: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    logits = z + row * stride
    # A finite start: two minus infinities have no difference.
    high = tl.full((), -1e30, sum_type)
    total = tl.full((), 0, sum_type)
    for start in range(0, vocab_size, columns_at_once):
        column = start + tl.arange(0, columns_at_once)
        x = tl.load(logits + column, mask=column < vocab_size, other=-float("inf")).to(sum_type)
        higher = tl.maximum(high, tl.max(x, 0))
        total = total * tl.exp(high - higher) + tl.sum(tl.exp(x - higher), 0)
        high = higher
    outer = high + tl.log(total)
    tl.store(lse + row, outer)
    tl.store(top + row, high)
    if has_target:
        tl.store(target + row, tl.load(logits + tl.load(targets + row)).to(sum_type))
    if gradient:
        share = 1 / (1 + tl.exp(tl.load(inner + row) - outer))
        # Everybody has read the target's logit before anybody overwrites it.
        tl.debug_barrier()
        for start in range(0, vocab_size, columns_at_once):
            column = start + tl.arange(0, columns_at_once)
            inside = column < vocab_size
            x = tl.load(logits + column, mask=inside, other=-float("inf")).to(sum_type)
            slope = factor * share * tl.exp(x - outer)
            if has_target:
                y = tl.load(targets + row)
                slope -= tl.where(column == y, 1, 0).to(sum_type)
            tl.store(logits + column, slope.to(z.dtype.element_ty), mask=inside)
