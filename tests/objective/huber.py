"""A term that the package does not have: how far the expected bin is from the true one."""

import torch
from torch import Tensor

from coordexp.objective.terms.coord_logits import CoordLogits
from coordexp.objective.terms.term import Slope, Term


def _distance(coords: CoordLogits) -> tuple[Tensor, Tensor]:
    """Return the bins, and the expectation less the true bin, of each coordinate."""
    k = torch.arange(coords.num_bins, dtype=coords.p.dtype, device=coords.p.device)
    return k, (coords.p * k).sum(-1) - coords.bins


def _value(coords: CoordLogits) -> Tensor:
    _, d = _distance(coords)
    return torch.where(d.abs() <= 1, d * d / 2, d.abs() - 0.5)


def _value_and_slope(coords: CoordLogits) -> tuple[Tensor, Slope]:
    k, d = _distance(coords)
    expected = d + coords.bins
    by_bin = d.clamp(-1, 1)[:, None] * coords.p * (k - expected[:, None])
    return _value(coords), Slope(by_bin=by_bin)


HUBER = Term(
    name="huber",
    value=_value,
    value_and_slope=_value_and_slope,
    label="Huber",
    title="Huber distance of the expectation",
    remark="from the expected bin to the true one, bins",
)
