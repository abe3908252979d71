r"""`w1`: Wasserstein-1 distance to the target, as a fraction of the axis or in bins.

With the cumulative difference :math:`D_k = CDF_p(k) - CDF_q(k)`,

.. math::
    W_1 = \textstyle\sum_k |D_k|, \qquad
    \partial\, W_1 / \partial s_j = p_j (g_j - \textstyle\sum_i p_i g_i), \quad
        g_j = \textstyle\sum_{k \ge j} \mathrm{sign}(D_k)

It moves probability towards the target: bins on the far side of it are pushed down by their whole
distance, not only by their own probability.
"""

from jaxtyping import Float
from torch import Tensor

from coordexp.objective.distribution import wasserstein1
from coordexp.objective.terms.coord_logits import CoordLogits
from coordexp.objective.terms.term import Slope, Term


def _value(coords: CoordLogits) -> Float[Tensor, " C"]:
    distance = wasserstein1(coords.p, _goal(coords))
    return distance / coords.num_bins if coords.target.w1_unit == "fraction" else distance


def _value_and_slope(coords: CoordLogits) -> tuple[Float[Tensor, " C"], Slope]:
    # The differences are wanted twice, and cumulative sums are what this term costs.
    gap = (coords.p - _goal(coords)).cumsum(-1)
    bin_size = 1 / coords.num_bins if coords.target.w1_unit == "fraction" else 1.0
    return gap.abs().sum(-1) * bin_size, Slope(by_bin=_slope_in_bins(coords.p, gap), unit=bin_size)


def _goal(coords: CoordLogits) -> Float[Tensor, "C K"]:
    return coords.q if coords.target.w1_target == "soft" else coords.one_hot


def _slope_in_bins(p: Float[Tensor, "C K"], gap: Float[Tensor, "C K"]) -> Float[Tensor, "C K"]:
    sign = gap.sign()
    # The reverse cumulative sum; sums of signs are exact.
    pull = sign.sum(-1, keepdim=True) - sign.cumsum(-1) + sign
    return p * (pull - (p * pull).sum(-1, keepdim=True))


W1 = Term(
    name="w1",
    value=_value,
    value_and_slope=_value_and_slope,
    label="W1",
    title="Wasserstein-1",
    remark="how far the distribution is from its target",
)
