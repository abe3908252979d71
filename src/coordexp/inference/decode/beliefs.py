"""The belief about a coordinate, from the logits of its bins; see `coordexp.answers.belief`.

Shapes: `N` coordinates, `K` bins.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coordexp.answers.belief import WINDOW_BINS, CoordBelief


def belief_figures(log_p: Float[Tensor, "N K"], chosen: Int[Tensor, " N"]) -> Float[Tensor, "N 3"]:
    """Return mass, entropy and mean bin of each coordinate.

    Args:
        log_p: Log probabilities of the bins. They may sum to less than one, where other tokens have
            a share; the mass is then smaller, entropy and mean are those of the bins alone.
        chosen: The bins that were written.
    """
    num_bins = log_p.shape[1]
    own = log_p.log_softmax(-1)
    entropy = -(own.exp() * own.clamp_min(torch.finfo(own.dtype).min)).sum(-1)
    around = torch.arange(-WINDOW_BINS, WINDOW_BINS + 1, device=log_p.device)
    bins = chosen[:, None] + around
    inside = (bins >= 0) & (bins < num_bins)
    window = torch.where(inside, log_p.gather(1, bins.clamp(0, num_bins - 1)).exp(), 0.0)
    mass = window.sum(-1)
    mean = chosen + (window * around).sum(-1) / mass.clamp_min(torch.finfo(mass.dtype).tiny)
    return torch.stack([mass.clamp_max(1.0), entropy, mean], dim=-1)


def coord_beliefs(logits: Float[Tensor, "N K"], chosen: Int[Tensor, " N"]) -> list[CoordBelief]:
    """Return the belief about each coordinate, from the logits of the bins alone."""
    figures = belief_figures(logits.double().log_softmax(-1), chosen)
    return [CoordBelief(*row) for row in figures.tolist()]
