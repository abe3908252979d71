"""The walk over the list of terms that every backend in plain torch shares.

Shapes: `C` supervised coordinates, `K` bins. `coord_values` leaves the gradient to autograd;
`solve_coord_terms` adds up the slopes that the terms bring.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coordexp.objective.contract import CoordWeights
from coordexp.objective.terms import TERMS
from coordexp.objective.terms.coord_logits import CoordLogits
from coordexp.objective.terms.term import Slope

COORD_DIAGNOSTICS = ("p_gt", "coord_mass")


def coord_values(coords: CoordLogits) -> dict[str, Float[Tensor, " C"]]:
    """Return each term of each coordinate, differentiable."""
    return {term.name: term.value(coords) for term in TERMS}


def coord_diagnostics(coords: CoordLogits) -> dict[str, Float[Tensor, " C"]]:
    """Return the figures of `COORD_DIAGNOSTICS` for each coordinate, without a gradient."""
    p_gt, coord_mass = coords.log_p_true.detach().exp(), (-coords.leak.detach()).exp()
    return {"p_gt": p_gt, "coord_mass": coord_mass}


@dataclass(frozen=True, slots=True)
class CoordTerms:
    """What `solve_coord_terms` returns.

    Args:
        values: Terms and diagnostics of each coordinate.
        gradient: Of the weighted sum of terms, with respect to the coord logits.
        by_outer: Of the same, by the logsumexp outside the coord vocabulary; None when no term with
            a weight looks there.
    """

    values: dict[str, Float[Tensor, " C"]]
    gradient: Float[Tensor, "C K"]
    by_outer: Float[Tensor, " C"] | None


def solve_coord_terms(coords: CoordLogits, weights: CoordWeights) -> CoordTerms:
    """Return the terms and the gradient of their weighted sum."""
    values, total = coord_diagnostics(coords), _SlopeSum(coords, weights)
    for term in TERMS:
        values[term.name], slope = term.value_and_slope(coords)
        if weights[term.name]:
            total.add(slope, weights[term.name])
    return CoordTerms(values, total.gradient(), total.by_outer)


class _SlopeSum:
    """The weighted sum of slopes, in tables as few as there can be.

    Args:
        coords: That the slopes are of.
        weights: Of the terms.
    """

    def __init__(self, coords: CoordLogits, weights: CoordWeights) -> None:
        self._coords = coords
        self._by_bin: Tensor | None = None
        self._times_p = torch.zeros_like(coords.inner)
        self._at_true_bin = 0.0
        self.by_outer = torch.zeros_like(coords.outer) if weights.teach_outside else None

    def add(self, slope: Slope, weight: float) -> None:
        """Take in one term's."""
        factor = weight * slope.unit
        if slope.by_bin is not None:
            part = factor * slope.by_bin
            self._by_bin = part if self._by_bin is None else self._by_bin.add_(part)
        self._times_p += factor * slope.times_p
        self._at_true_bin += factor * slope.at_true_bin
        if self.by_outer is not None and slope.by_outer is not None:
            self.by_outer += factor * slope.by_outer

    def gradient(self) -> Float[Tensor, "C K"]:
        """Return the sum, by the coord logits."""
        p, bins = self._coords.p, self._coords.bins[:, None]
        gradient = torch.zeros_like(p) if self._by_bin is None else self._by_bin
        gradient.addcmul_(p, self._times_p[:, None])
        at_true_bin = torch.full_like(p[:, :1], self._at_true_bin)
        return gradient.scatter_add_(1, bins, at_true_bin)
