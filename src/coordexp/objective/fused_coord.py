r"""The coord terms of a row with their gradients worked out by hand.

Shapes: `C` coord rows, `K` bins. With :math:`p = \mathrm{softmax}(s)`, target q, cumulative
difference :math:`D_k = CDF_p(k) - CDF_q(k)` and leak :math:`\ell = 1 - e^{-gate}`:

.. math::
    \partial\, CE / \partial s_j &= p_j - [j = k^*] \\
    \partial\, softCE / \partial s_j &= p_j - q_j \\
    \partial\, W_1 / \partial s_j &= p_j (g_j - \textstyle\sum_i p_i g_i), \quad
        g_j = \textstyle\sum_{k \ge j} \mathrm{sign}(D_k) \\
    \partial\, gate / \partial s_j &= -\ell\, p_j

W1 moves probability towards the target: bins on the far side of it are pushed down by their whole
distance, not only by their own probability.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from coordexp.objective.distribution import gaussian_soft_target, soft_cross_entropy
from coordexp.objective.terms import CoordTarget, CoordWeights


@dataclass(frozen=True, slots=True)
class CoordTerms:
    """What `coord_terms` returns.

    Args:
        values: `ce`, `soft_ce` and `w1` of each row.
        gradient: Of their weighted sum and the gate's, with respect to the coord logits.
    """

    values: dict[str, Float[Tensor, " C"]]
    gradient: Float[Tensor, "C K"]


def coord_terms(
    s: Float[Tensor, "C K"],
    bins: Int[Tensor, " C"],
    leak: Float[Tensor, " C"] | None,
    *,
    weights: CoordWeights,
    target: CoordTarget,
) -> CoordTerms:
    """Return the terms and the gradient.

    Args:
        s: Coord logits, divided by the temperature.
        bins: The true bins.
        leak: Probability outside the coord vocabulary; None without a weight on the gate.
        weights: Of the terms.
        target: Shape of the taught distribution.
    """
    num_bins = s.shape[-1]
    log_p = s.log_softmax(-1)
    p = log_p.exp()
    q = gaussian_soft_target(
        bins, num_bins=num_bins, sigma=target.sigma, truncate=target.truncate, dtype=s.dtype
    )
    goal = q if target.w1_target == "soft" else functional.one_hot(bins, num_bins).to(s.dtype)
    bin_size = 1 / num_bins if target.w1_unit == "fraction" else 1.0
    gap = (p - goal).cumsum(-1)

    gradient = weights.soft_ce * (p - q)
    gradient += (weights.w1 * bin_size) * _w1_gradient(p, gap)
    from_softmax = torch.full_like(s[:, :1], weights.ce)
    if leak is not None:
        from_softmax -= weights.gate * leak[:, None]
    gradient.addcmul_(p, from_softmax)
    gradient.scatter_add_(1, bins[:, None], torch.full_like(s[:, :1], -weights.ce))
    return CoordTerms(
        values={
            "ce": -log_p.gather(1, bins[:, None])[:, 0],
            "soft_ce": soft_cross_entropy(log_p, q),
            "w1": gap.abs().sum(-1) * bin_size,
        },
        gradient=gradient,
    )


def _w1_gradient(p: Float[Tensor, "C K"], gap: Float[Tensor, "C K"]) -> Float[Tensor, "C K"]:
    sign = gap.sign()
    # The reverse cumulative sum; sums of signs are exact.
    pull = sign.sum(-1, keepdim=True) - sign.cumsum(-1) + sign
    return p * (pull - (p * pull).sum(-1, keepdim=True))
