"""How far apart two sets of logits are.

Coord ids apart from all others: there are 1000 of them among 152,000, and what goes wrong with
their rows would vanish in a mean over all. In standard deviations of the reference's logits, so
that a limit means the same for every model.

Shapes: `P` positions, `V` vocabulary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Distance:
    """In standard deviations of the reference's logits.

    Args:
        largest: The largest absolute difference.
        rms: The root of the mean square.
        typical: The rms of the middle position, where they are ranked by it. A few that are far
            off do not show in it.
    """

    largest: float
    rms: float
    typical: float


@dataclass(frozen=True, slots=True)
class LogitDistance:
    """Over coord ids, over all others, and over both.

    Args:
        coord: None without coord tokens.
        other: Every other id.
        every: Coord ids and others.
    """

    coord: Distance | None
    other: Distance
    every: Distance


def logit_distance(
    ours: Float[Tensor, "P V"],
    reference: Float[Tensor, "P V"],
    coord_ids: tuple[int, int] | None,
) -> LogitDistance:
    """Return how far `ours` is from the reference."""
    difference = (ours - reference) / reference.std()
    every = _distance(difference)
    if coord_ids is None:
        return LogitDistance(coord=None, other=every, every=every)
    first, stop = coord_ids[0], coord_ids[1] + 1
    other = torch.cat([difference[:, :first], difference[:, stop:]], dim=1)
    coord = difference[:, first:stop]
    return LogitDistance(coord=_distance(coord), other=_distance(other), every=every)


def _distance(difference: Float[Tensor, "P W"]) -> Distance:
    squares = difference.double().square().mean(1)
    return Distance(
        largest=float(difference.abs().max()),
        rms=float(squares.mean().sqrt()),
        typical=float(squares.sqrt().median()),
    )
