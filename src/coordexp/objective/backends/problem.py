"""What every backend without logits is given, and what it hands back.

Shapes: `T` tokens, `D` width, `V` vocabulary, `K` bins, `N` supervised rows: `M` text rows, then
`C` coord rows. Rows without a target are dropped before anything is multiplied.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coordexp.objective.backends.coord_rows import COORD_DIAGNOSTICS
from coordexp.objective.contract import CoordWeights, StepCounts
from coordexp.objective.masks import label_bins, text_mask
from coordexp.objective.terms.coord_logits import CoordTarget

DIAGNOSTICS = ("text_correct", *COORD_DIAGNOSTICS)
"""What is summed over rows beside the terms."""


@dataclass(frozen=True, slots=True)
class SupervisedRows:
    """The rows that have a target: text rows in the order of their targets, then coord rows.

    In that order the targets that fall into one block of the vocabulary are neighbours, and a block
    finds its targets without looking at every row.

    Args:
        index: Their positions among the tokens.
        targets: Vocabulary ids of the text rows, ascending.
        bins: True bins of the coord rows.
    """

    index: Int[Tensor, " N"]
    targets: Int[Tensor, " M"]
    bins: Int[Tensor, " C"]

    @property
    def counts(self) -> StepCounts:
        """How many rows there are of each kind."""
        return StepCounts(text=len(self.targets), coord=len(self.bins))


def supervised_rows(
    labels: Int[Tensor, " T"], coord_ids: Int[Tensor, " K"], vocab_size: int
) -> SupervisedRows:
    """Return the rows with a target.

    Example:
        >>> supervised_rows(torch.tensor([5, -100, 7, 2]), torch.tensor([7, 8]), 9)
        SupervisedRows(index=tensor([3, 0, 2]), targets=tensor([2, 5]), bins=tensor([0]))
    """
    bins = label_bins(labels, coord_ids, vocab_size)
    text = text_mask(labels, bins).nonzero()[:, 0]
    coord = (bins >= 0).nonzero()[:, 0]
    targets, order = labels[text].sort()
    return SupervisedRows(torch.cat([text[order], coord]), targets, bins[coord])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which gradients are wanted.

    Args:
        hidden: Of the hidden states.
        head: Of the head's weight; a frozen head costs nothing.
        offset: Of the rows added to the head's coord rows.
    """

    hidden: bool
    head: bool
    offset: bool


@dataclass(frozen=True, slots=True)
class SolverInputs:
    """One call of the loss, with everything that is independent of the backend worked out.

    Args:
        hidden: Final hidden states of all tokens.
        head_weight: The output embedding.
        head_offset: Rows added to the head's coord rows.
        coord_ids: The coord ids in bin order.
        rows: The rows with a target.
        weights: Of the coord terms.
        target: Shape of the taught distribution.
        over: What the sums of text and coord terms are divided by.
        wanted: Which gradients to compute.
        gemm_dtype: In which the large products are taken.
    """

    hidden: Float[Tensor, "T D"]
    head_weight: Float[Tensor, "V D"]
    head_offset: Float[Tensor, "K D"] | None
    coord_ids: Int[Tensor, " K"]
    rows: SupervisedRows
    weights: CoordWeights
    target: CoordTarget
    over: StepCounts
    wanted: Wanted
    gemm_dtype: torch.dtype

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of all terms, that of the text first."""
        return ("text", *self.weights)

    @property
    def sum_dtype(self) -> torch.dtype:
        """In which everything small is computed: float32, or float64 for float64 inputs."""
        return torch.float64 if self.gemm_dtype == torch.float64 else torch.float32

    def scale(self, *, coord: bool) -> float:
        """Return what one row of this kind counts in the loss."""
        return 1 / max(self.over.coord if coord else self.over.text, 1)

    def row_scales(self) -> Float[Tensor, " N"]:
        """Return what each supervised row counts in the loss."""
        scales = self.hidden.new_full(
            (len(self.rows.index),), self.scale(coord=True), dtype=self.sum_dtype
        )
        scales[: self.rows.counts.text] = self.scale(coord=False)
        return scales

    def gather(self, rows: slice) -> Float[Tensor, "n D"]:
        """Return supervised rows of hidden states, coord rows divided by the temperature."""
        x = self.hidden.index_select(0, self.rows.index[rows]).to(self.gemm_dtype)
        first_coord = max(self.rows.counts.text - rows.start, 0)
        if self.target.temperature != 1:
            x[first_coord:] /= self.target.temperature
        return x

    def coord_rows(self) -> Float[Tensor, "K D"]:
        """Return the head's coord rows with their offsets."""
        rows = self.head_weight.index_select(0, self.coord_ids)
        if self.head_offset is None:
            return rows.to(self.gemm_dtype)
        return (rows.to(self.sum_dtype) + self.head_offset).to(self.gemm_dtype)


@dataclass(frozen=True, slots=True)
class Solution:
    """Sums over the targets, and the gradients of the loss.

    Args:
        sums: By the names of the problem's terms and of `DIAGNOSTICS`.
        text_hits: Which text rows have the highest logit at their target.
        hidden: Gradient of the supervised rows, not yet multiplied by what a row counts: in float16
            the product would underflow before the gradient scaler sees it.
        coord_rows: Gradient of the head's coord rows, hence of the offset.
        head: Gradient of the head's weight.
    """

    sums: dict[str, Float[Tensor, ""]]
    text_hits: Bool[Tensor, " M"]
    hidden: Float[Tensor, "N D"] | None
    coord_rows: Float[Tensor, "K D"] | None
    head: Float[Tensor, "V D"] | None


Solver = Callable[[SolverInputs], Solution]
