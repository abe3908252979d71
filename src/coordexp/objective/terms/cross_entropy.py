r"""`ce`: cross-entropy of the true bin inside the coord vocabulary, in nats.

.. math::
    CE = -\log p_{k^*}, \qquad \partial\, CE / \partial s_j = p_j - [j = k^*]
"""

from jaxtyping import Float
from torch import Tensor

from coordexp.objective.terms.coord_logits import CoordLogits
from coordexp.objective.terms.term import Slope, Term


def _value(coords: CoordLogits) -> Float[Tensor, " C"]:
    return -coords.log_p_true


def _value_and_slope(coords: CoordLogits) -> tuple[Float[Tensor, " C"], Slope]:
    return _value(coords), Slope(times_p=1.0, at_true_bin=-1.0)


CE = Term(
    name="ce",
    value=_value,
    value_and_slope=_value_and_slope,
    label="CE",
    title="Cross-entropy",
    remark="of the true bin among the bins, nats",
    is_shown=False,  # the soft one tells the same, and has a weight by default
)
