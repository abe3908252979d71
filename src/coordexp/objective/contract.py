"""What goes into the stage-1 loss and what comes out of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor
from typing_extensions import override

from coordexp.objective.terms import TERMS
from coordexp.objective.terms.coord_logits import CoordTarget

Number = TypeVar("Number", float, Tensor)


class CoordWeights(Mapping[str, float]):
    """How much each coord term counts beside the text term, whose weight is 1, by its name.

    A mapping of every name of `TERMS`; what is not given has weight 0, and no part in the loss.

    Args:
        weights: By the terms' names, not negative.

    Raises:
        ValueError: For a name that no term has.

    Example:
        >>> weights = CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0)
        >>> weights["gate"], list(weights)
        (1.0, ['ce', 'soft_ce', 'w1', 'gate'])
    """

    def __init__(self, **weights: float) -> None:
        self._given = weights
        if unknown := [name for name in weights if name not in self]:
            known = ", ".join(self)
            raise ValueError(f"no coord term is named {', '.join(unknown)}; known: {known}")

    @override
    def __getitem__(self, name: str) -> float:
        if not any(name == term.name for term in TERMS):
            raise KeyError(name)
        return self._given.get(name, 0.0)

    @override
    def __iter__(self) -> Iterator[str]:
        return (term.name for term in TERMS)

    @override
    def __len__(self) -> int:
        return len(TERMS)

    @override
    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    @override
    def __repr__(self) -> str:
        return f"CoordWeights({', '.join(f'{name}={value}' for name, value in self.items())})"

    @property
    def teach_outside(self) -> bool:
        """Whether anything outside the coord vocabulary learns from a coordinate."""
        return any(self[term.name] for term in TERMS if term.needs_outside)

    def weigh(self, values: Mapping[str, Number]) -> Number | float:
        """Return the weighted sum of what is given for each term.

        What has no weight is left out, not multiplied by 0: that is NaN where it is not finite.
        """
        return sum((weight * values[name] for name, weight in self.items() if weight), 0.0)


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
class LossInputs:
    """The arguments of one call of the loss; `coordexp.objective.stage1_loss` explains them."""

    hidden: Float[Tensor, "T D"]
    head_weight: Float[Tensor, "V D"]
    labels: Int[Tensor, " T"]
    coord_ids: Int[Tensor, " K"]
    head_offset: Float[Tensor, "K D"] | None
    weights: CoordWeights
    target: CoordTarget
    denominators: StepCounts | None


@dataclass(frozen=True, slots=True)
class Stage1Output:
    """The loss and what it is made of.

    Args:
        loss: Scalar, weighted and divided by the denominators; carries the gradient.
        sums: `text` and the name of each coord term: sums over their targets, unweighted, detached.
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
