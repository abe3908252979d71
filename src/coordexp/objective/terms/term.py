"""What a term of a coordinate's loss is.

Shapes: `C` supervised coordinates, `K` bins.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from coordexp.objective.terms.coord_logits import CoordLogits


@dataclass(frozen=True, slots=True)
class Slope:
    r"""The derivative of a term by the logits of its position.

    By the logit :math:`s_j` of a bin it is
    `unit * (by_bin[j] + times_p * p[j] + at_true_bin * [j is the true bin])`. All but `by_bin` is
    there so that cross-entropies need no table of their own; a plain term gives `by_bin` alone.

    Args:
        by_bin: See above; None is 0.
        times_p: See above; one number for each coordinate, or for all.
        at_true_bin: See above.
        by_outer: Derivative by the logsumexp of the logits outside the coord vocabulary, not
            negative; None is 0, and all that a term may give which does not need the outside.
        unit: Multiplies all of it, when the term is counted in another unit than its slope.
    """

    by_bin: Float[Tensor, "C K"] | None = None
    times_p: Float[Tensor, " C"] | float = 0.0
    at_true_bin: float = 0.0
    by_outer: Float[Tensor, " C"] | None = None
    unit: float = 1.0


@dataclass(frozen=True, slots=True)
class Term:
    """One term, with all that anybody needs to know of it.

    Args:
        name: In `CoordWeights`, in `Stage1Output.sums` and in the doctor's table.
        value: What it is for each coordinate, unreduced and differentiable: the reference.
        value_and_slope: The same with its derivative worked out by hand, without autograd: every
            other backend.
        label: In the progress bar.
        title: On the quickstart's page.
        remark: What its figure tells, with its unit, on that page.
        is_shown: Whether bar and page show it; log and doctor always do.
        needs_outside: Whether it looks at `CoordLogits.outer`, and with a weight teaches the logits
            outside the coord vocabulary.
    """

    name: str
    value: Callable[[CoordLogits], Tensor]
    value_and_slope: Callable[[CoordLogits], tuple[Tensor, Slope]]
    label: str
    title: str
    remark: str
    is_shown: bool = True
    needs_outside: bool = False

    @property
    def metric(self) -> str:
        """Its key in the log."""
        return f"coord_diag/{self.name}"

    @property
    def weight_key(self) -> str:
        """The key of its weight in the configuration."""
        return f"{self.name}_weight"
