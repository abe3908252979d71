r"""`soft_ce`: cross-entropy to the soft target, in nats.

.. math::
    softCE = -\sum_k q_k \log p_k, \qquad \partial\, softCE / \partial s_j = p_j - q_j
"""

from jaxtyping import Float
from torch import Tensor

from coordexp.objective.distribution import soft_cross_entropy
from coordexp.objective.terms.coord_logits import CoordLogits
from coordexp.objective.terms.term import Slope, Term


def _value(coords: CoordLogits) -> Float[Tensor, " C"]:
    return soft_cross_entropy(coords.log_p, coords.q)


def _value_and_slope(coords: CoordLogits) -> tuple[Float[Tensor, " C"], Slope]:
    return _value(coords), Slope(by_bin=coords.p - coords.q)


SOFT_CE = Term(
    name="soft_ce",
    value=_value,
    value_and_slope=_value_and_slope,
    label="softCE",
    title="Soft cross-entropy",
    remark="against a Gaussian around the true bin, nats",
)
