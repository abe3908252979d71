"""A vocabulary matrix with new rows: what the rows after the last used one start as.

The mean of all rows in use, rows that were fitted, or, for `digits`, the mean of the rows of each
number's text, smoothed along the axis so that neighbours start near each other.

Shapes: `V` rows before, `W` after, `D` width, `K` bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coordexp.model.shards import StoredTensor

SMOOTHING_BINS = 15
_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class NewRows:
    """What the rows after the last used one become.

    Args:
        used: Tokens before.
        rows: Rows afterwards.
        names: The new tokens, in the order of their ids; the coord tokens come last.
        pieces: For `digits`: the ids of each number's text; empty for `mean`.
        head: The head's rows of the coord tokens, which a tied table shares; None where `pieces`
            or the mean decide.
    """

    used: int
    rows: int
    names: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]
    head: Float[Tensor, "K D"] | None = None


def expand_matrix(stored: StoredTensor, new: NewRows) -> Float[Tensor, "W D"]:
    """Return a matrix with its new rows; beside the result only small pieces are in memory."""
    before, width = stored.shape
    result = torch.empty(new.rows, width, dtype=stored.dtype)
    total = torch.zeros(width, dtype=torch.float64)
    used = min(new.used, before)
    for start in range(0, before, _CHUNK_ROWS):
        stop = min(start + _CHUNK_ROWS, before)
        result[start:stop] = stored.load_rows(start, stop)
        total += result[start : min(stop, max(used, start))].sum(0, dtype=torch.float64)
    mean = (total / used).to(result.dtype)
    # Rows beyond the old matrix, and the new tokens', get the mean; old padding rows stay.
    result[before:] = mean
    last = new.used + len(new.names)
    result[new.used : last] = mean
    if new.head is not None:
        result[last - len(new.head) : last] = new.head.to(result.dtype)
    elif new.pieces:
        result[last - len(new.pieces) : last] = _digit_rows(result, new.pieces).to(result.dtype)
    return result


def _digit_rows(
    rows: Float[Tensor, "W D"], pieces: Sequence[Sequence[int]]
) -> Float[Tensor, "K D"]:
    """Return the mean row of each number's text, smoothed by a moving average over the bins."""
    raw = torch.stack([rows[list(ids)].float().mean(0) for ids in pieces])
    half = SMOOTHING_BINS // 2
    edges = torch.nn.functional.pad(raw.T[None], (half, half), mode="replicate")
    return torch.nn.functional.avg_pool1d(edges, SMOOTHING_BINS, stride=1)[0].T
