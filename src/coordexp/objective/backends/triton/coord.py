"""Terms and gradient of a coordinate, one row of bins per program.

Shapes: `C` coord rows, `K` bins. The same formulas as in `coordexp.objective.terms`; the row of
bins, 1024 wide, stays in registers from the softmax to the gradient.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from coordexp.objective.contract import CoordWeights
from coordexp.objective.terms.coord_logits import CoordTarget

KERNEL_TERMS = frozenset({"ce", "soft_ce", "w1", "gate"})
"""The terms that this kernel knows, the gate's value excepted, which its caller has."""

_WARPS = 4


def coord_rows(
    s: Float[Tensor, "C K"],
    bins: Int[Tensor, " C"],
    leak: Float[Tensor, " C"] | None,
    *,
    weights: CoordWeights,
    target: CoordTarget,
) -> tuple[dict[str, Float[Tensor, " C"]], Float[Tensor, "C K"]]:
    """Return `ce`, `soft_ce` and `w1`, and the gradient of the weighted sum of all terms.

    Args:
        s: Coord logits, divided by the temperature; overwritten by the gradient.
        bins: The true bins.
        leak: Probability outside the coord vocabulary; None without a weight on the gate.
        weights: Of the terms.
        target: Shape of the taught distribution.
    """
    num_rows, num_bins = s.shape
    ce, soft_ce, w1 = s.new_zeros((3, num_rows))
    if num_rows:
        _coord_rows[(num_rows,)](
            s,
            bins,
            s if leak is None else leak,
            ce,
            soft_ce,
            w1,
            num_bins,
            ce_weight=float(weights["ce"]),
            soft_ce_weight=float(weights["soft_ce"]),
            w1_weight=float(weights["w1"]),
            gate_weight=0.0 if leak is None else float(weights["gate"]),
            sigma=float(target.sigma),
            radius=num_bins if target.truncate is None else target.truncate,
            bin_size=1 / num_bins if target.w1_unit == "fraction" else 1.0,
            to_one_hot=target.w1_target == "one_hot",
            sum_type=tl.float64 if s.dtype == torch.float64 else tl.float32,
            width=triton.next_power_of_2(num_bins),
            num_warps=_WARPS,
            enable_fp_fusion=True,
        )
    return {"ce": ce, "soft_ce": soft_ce, "w1": w1}, s


@triton.jit
@no_type_check  # jaxtyping's wrapper would hide the module's names from the compiler
def _coord_rows(  # noqa: PLR0913, PLR0917 - a kernel takes its pointers one by one
    s: tl.tensor,
    bins: tl.tensor,
    leak: tl.tensor,
    ce: tl.tensor,
    soft_ce: tl.tensor,
    w1: tl.tensor,
    num_bins: tl.tensor,
    ce_weight: tl.constexpr,
    soft_ce_weight: tl.constexpr,
    w1_weight: tl.constexpr,
    gate_weight: tl.constexpr,
    sigma: tl.constexpr,
    radius: tl.constexpr,
    bin_size: tl.constexpr,
    to_one_hot: tl.constexpr,
    sum_type: tl.constexpr,
    width: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, width)
    inside = k < num_bins
    true_bin = tl.load(bins + row)
    hot = tl.where(k == true_bin, 1, 0).to(sum_type)

    x = tl.load(s + row * num_bins + k, mask=inside, other=-float("inf"))
    x -= tl.max(x, 0)
    log_total = tl.log(tl.sum(tl.exp(x), 0))
    log_p = tl.where(inside, x - log_total, 0)
    p = tl.where(inside, tl.exp(log_p), 0)

    distance = (k - true_bin).to(sum_type) / sigma
    near = inside & (tl.abs(k - true_bin) <= radius)
    q = tl.where(near, tl.exp(-0.5 * distance * distance), 0)
    q /= tl.sum(q, 0)

    gap = tl.where(inside, tl.cumsum(p - (hot if to_one_hot else q), 0), 0)
    sign = tl.where(gap > 0, 1, 0).to(sum_type) - tl.where(gap < 0, 1, 0).to(sum_type)
    pull = tl.cumsum(sign, 0, reverse=True)
    slope = soft_ce_weight * (p - q) + ce_weight * (p - hot)
    slope += w1_weight * bin_size * p * (pull - tl.sum(p * pull, 0))
    if gate_weight != 0:
        slope -= gate_weight * tl.load(leak + row) * p

    tl.store(s + row * num_bins + k, slope, mask=inside)
    tl.store(ce + row, -tl.sum(hot * log_p, 0))
    tl.store(soft_ce + row, -tl.sum(q * log_p, 0))
    tl.store(w1 + row, bin_size * tl.sum(tl.abs(gap), 0))
