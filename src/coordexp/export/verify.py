"""Does the merged model say what the adapter said?

Covered: the text path, on random token ids with coord ids among them. Not covered yet: pictures and
generation.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coordexp.errors import CoordExpError
from coordexp.model.load import load_base

PROBE_ROWS, PROBE_LENGTH = 2, 64
TOLERANCE = 1e-3


def probe_ids(vocab_size: int, coord_ids: tuple[int, int] | None) -> Tensor:
    """Return fixed token ids; every second one is a coord id where there are any."""
    generator = torch.Generator().manual_seed(0)
    shape = (PROBE_ROWS, PROBE_LENGTH)
    ids = torch.randint(0, vocab_size, shape, generator=generator)
    if coord_ids is not None:
        first, last = coord_ids
        ids[:, 1::2] = torch.randint(first, last + 1, ids[:, 1::2].shape, generator=generator)
    return ids


@torch.no_grad()
def probe_logits(model: nn.Module, ids: Tensor) -> Float[Tensor, "B T V"]:
    """Return the logits of the probe."""
    model.eval()
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.float()


def largest_difference(ours: Float[Tensor, "B T V"], theirs: Float[Tensor, "B T V"]) -> float:
    """Return the largest absolute difference, as a share of the logits' standard deviation."""
    return float((ours - theirs).abs().max() / theirs.std())


def check_merged(merged: nn.Module, expected: Float[Tensor, "B T V"], ids: Tensor) -> float:
    """Compare a merged model in memory with the adapter's logits; return the difference.

    Raises:
        CoordExpError: If it is more than rounding.
    """
    difference = largest_difference(probe_logits(merged, ids), expected)
    if not difference <= TOLERANCE:
        raise CoordExpError(
            f"the merged logits differ from the adapter's by {difference:.3g} standard deviations "
            f"(at most {TOLERANCE:g} expected); nothing was written"
        )
    return difference


def check_reloaded(path: Path, expected: Float[Tensor, "B T V"], ids: Tensor) -> None:
    """Reload what was written as a plain model and compare it bit for bit, computing in float32.

    Raises:
        CoordExpError: If a logit differs.
    """
    reloaded = load_base(path, dtype="float32", attn_implementation="sdpa")
    if not torch.equal(probe_logits(reloaded, ids), expected):
        raise CoordExpError(
            "the merged model, reloaded, does not give the logits that it was saved with"
        )
