r"""`gate`: probability that leaks out of the coord vocabulary, in nats.

With a and c the logsumexp of the logits outside and inside it, and leak
:math:`\ell = \sigma(a - c) = 1 - e^{-gate}`,

.. math::
    gate = \log(1 + e^{a - c}), \qquad \partial\, gate / \partial a = \ell, \quad
    \partial\, gate / \partial s_j = -\ell\, p_j
"""

from jaxtyping import Float
from torch import Tensor

from coordexp.objective.terms.coord_logits import CoordLogits
from coordexp.objective.terms.term import Slope, Term


def _value(coords: CoordLogits) -> Float[Tensor, " C"]:
    return coords.leak


def _value_and_slope(coords: CoordLogits) -> tuple[Float[Tensor, " C"], Slope]:
    share = (coords.outer - coords.inner).sigmoid()
    return _value(coords), Slope(times_p=-share, by_outer=share)


GATE = Term(
    name="gate",
    value=_value,
    value_and_slope=_value_and_slope,
    label="gate",
    title="Gate",
    remark="cost of probability outside the coord tokens, nats",
    needs_outside=True,
)
