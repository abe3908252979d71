"""What goes into the stage-1 loss and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

W1Unit = Literal["fraction", "bins"]
W1Target = Literal["soft", "one_hot"]


@dataclass(frozen=True, slots=True)
class CoordWeights:
    """How much each coord term counts beside the text term, whose weight is 1.

    Args:
        ce: Cross-entropy of the true bin inside the coord vocabulary.
        soft_ce: Cross-entropy to the soft target.
        w1: Wasserstein-1 distance to the target.
        gate: Probability that leaks out of the coord vocabulary.
    """

    ce: float
    soft_ce: float
    w1: float
    gate: float


@dataclass(frozen=True, slots=True)
class CoordTarget:
    """The distribution that a coordinate is taught.

    Args:
        sigma: Standard deviation of the Gaussian, in bins; positive.
        truncate: Bins further from the true one get nothing; None keeps them all.
        temperature: Divides the logits at coord positions; positive.
        w1_unit: `fraction` divides Wasserstein-1 by the number of bins, `bins` leaves it in bins.
        w1_target: Wasserstein-1 is taken to the soft target or to the true bin alone.
    """

    sigma: float
    truncate: int | None
    temperature: float
    w1_unit: W1Unit
    w1_target: W1Target


@dataclass(frozen=True, slots=True)
class StepCounts:
    """How many supervised targets an optimizer step has, over all micro-batches, ranks and packs.

    Args:
        text: Targets that are no coord token.
        coord: Targets that are coord tokens.
    """

    text: int
    coord: int


@dataclass(frozen=True, slots=True)
class Stage1Output:
    """The loss and what it is made of.

    Args:
        loss: Scalar, weighted and divided by the denominators; carries the gradient.
        sums: `text`, `ce`, `soft_ce`, `w1`, `gate`: sums over their targets, unweighted, detached.
            A term of weight 0 is there too, and plays no part in the loss.
        counts: `text` and `coord`: the number of targets in this call.
        diagnostics: Sums over targets, detached: `text_correct` (text targets with the highest
            logit), `p_gt` (probability of the true bin among the bins), and `coord_mass`
            (probability inside the coord vocabulary).
        text_hits: Which tokens have a text target with the highest logit; `text_correct` of them.
    """

    loss: Float[Tensor, ""]
    sums: Mapping[str, Float[Tensor, ""]]
    counts: StepCounts
    diagnostics: Mapping[str, Float[Tensor, ""]]
    text_hits: Bool[Tensor, " T"]
