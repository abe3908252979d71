r"""Coord rows fitted to what a base knows when it is about to write a number.

Shapes: `N` places where a number begins, `M` other places of answers, `D` width, `V` vocabulary,
`K` bins, `J` waves.

Just before a base writes the first digit of a coordinate, its hidden state knows the whole number,
and a linear map reads it. So the rows of the coord tokens, which are a linear map, need not start
from nothing. They are the waves

.. math:: r_k = g + \sum_{j=1}^{J} \frac{1}{\sqrt j} \cos\Big(\pi j \frac{k + 1/2}{K}\Big)\, c_j

whose coefficients c and g minimise, over places with their numbers k*,

.. math:: -\sum_k q_k \log p_k \;+\; \text{(elsewhere)} -\log p(\text{text}) \;+\;
    \lambda \, \overline{|r|^2}

with p over text and coord tokens together and q the Gaussian target around k*. Waves, because bins
are an axis: neighbours share what they learn, long waves come first, and ten thousand numbers are
enough. All terms are convex in c and g, so that there is one answer and no rate to choose.

Not covered: the rows as input. With a tied table the same rows are what the model reads afterwards,
and that it must learn; the penalty keeps them about as long as rows of text are.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from coordexp.errors import CoordExpError

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Places:
    """What a base thinks while it writes answers.

    Args:
        hidden: Final hidden states from which the first digit of a number follows.
        bins: The numbers that are written there.
        elsewhere: Final hidden states from which anything else follows.
    """

    hidden: Float[Tensor, "N D"]
    bins: Int[Tensor, " N"]
    elsewhere: Float[Tensor, "M D"]


def fit_coord_rows(
    places: Places,
    text_rows: Float[Tensor, "V D"],
    *,
    num_bins: int,
    waves: int,
    sigma: float,
    decay: float,
    iterations: int,
) -> Float[Tensor, "K D"]:
    """Return the head's rows of the coord tokens, in float32.

    Args:
        places: To learn from; a few thousand numbers all over the axis.
        text_rows: The head's rows of all other tokens.
        num_bins: K.
        waves: J; the shortest is `2 K / J` bins long.
        sigma: Of the target, in bins.
        decay: Of the mean squared length of a row.
        iterations: Of L-BFGS; it stops earlier where nothing improves.

    Raises:
        CoordExpError: If there is no number to learn from, or the fit is not finite.
    """
    if not len(places.bins):
        raise CoordExpError("there is no number to fit coord rows to")
    text = text_rows.float()
    here, there = places.hidden.float(), places.elsewhere.float()
    text_here, text_there = _logsumexp(here, text), _logsumexp(there, text)
    basis = wave_basis(num_bins, waves).to(text.device)
    target = _target(places.bins, num_bins, sigma)
    coefficients = torch.zeros(waves + 1, text.shape[1], device=text.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [coefficients], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Float[Tensor, ""]:
        optimizer.zero_grad()
        rows = basis @ coefficients
        z = here @ rows.T
        among_all = torch.logaddexp(z.logsumexp(-1), text_here)
        total = (among_all - (target * z).sum(-1)).mean() + decay * rows.square().sum(-1).mean()
        if len(there):
            total = total + functional.softplus((there @ rows.T).logsumexp(-1) - text_there).mean()
        total.backward()
        return total.detach()

    optimizer.step(loss)
    rows = (basis @ coefficients).detach()
    if not rows.isfinite().all():
        raise CoordExpError("the fit of the coord rows is not finite; are the base's weights?")
    return rows


def wave_basis(num_bins: int, waves: int) -> Float[Tensor, "K _"]:
    """Return a constant and the first waves at every bin, longer ones weighing more.

    Example:
        >>> wave_basis(2, 1)
        tensor([[ 1.0000,  0.7071],
                [ 1.0000, -0.7071]])
    """
    axis = (torch.arange(num_bins) + 0.5) / num_bins
    number = torch.arange(1, waves + 1)
    cosines = torch.cos(torch.pi * number[None, :] * axis[:, None]) / number.sqrt()
    return torch.cat([torch.ones(num_bins, 1), cosines], dim=1)


def _target(bins: Int[Tensor, " N"], num_bins: int, sigma: float) -> Float[Tensor, "N K"]:
    # The objective's target without its cut; `model` does not know `objective`.
    distance = torch.arange(num_bins, device=bins.device)[None, :] - bins[:, None]
    return (-0.5 * (distance / sigma).square()).softmax(-1)


def _logsumexp(hidden: Float[Tensor, "n D"], text: Float[Tensor, "V D"]) -> Float[Tensor, " n"]:
    """Return how strong text is at each place, without all logits at once."""
    pieces = [(part @ text.T).logsumexp(-1) for part in hidden.split(_ROWS_AT_ONCE)]
    return torch.cat(pieces) if pieces else hidden.new_zeros(0)
