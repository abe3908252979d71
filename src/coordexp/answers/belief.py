"""What a model believes about a coordinate.

Training spreads a coordinate's probability over its neighbours on purpose, so that a single bin
says little. All figures but the entropy look at the window of `WINDOW_BINS` on either side of the
chosen bin.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# 8 bins are 4 sigma of the taught distribution, which never puts more than 0.2 on a single bin.
WINDOW_BINS = 8

LISTED_TOKENS = 256
"""Likely tokens that an engine is asked to list at each place. A tuned model's scores, made of the
bins among them, were up to 0.002 too low; of 20, vLLM's own limit, up to 0.08."""


@dataclass(frozen=True, slots=True)
class CoordBelief:
    """How sure a coordinate is.

    Args:
        mass: Probability in the window.
        entropy: Of the distribution over all bins, in nats.
        mean_bin: Expectation over the window, renormalised.
    """

    mass: float
    entropy: float
    mean_bin: float


def belief_of_listed(chosen: int, probabilities: Mapping[int, float]) -> CoordBelief:
    """Return the belief as far as it is known from the bins that an engine lists.

    Bins that are not listed count as nothing: the mass is then a lower bound.

    Args:
        chosen: The bin that was written; it is among those that are listed.
        probabilities: Of bins, in any order; they may sum to less than one.

    Example:
        >>> belief_of_listed(5, {5: 0.5, 7: 0.25, 400: 0.125}).mass
        0.75
    """
    near = {k: p for k, p in probabilities.items() if abs(k - chosen) <= WINDOW_BINS}
    mass = sum(near.values())
    total = sum(probabilities.values())
    shares = [p / total for p in probabilities.values() if p > 0] if total > 0 else []
    return CoordBelief(
        mass=min(mass, 1.0),
        entropy=-sum(share * math.log(share) for share in shares),
        mean_bin=sum(k * p for k, p in near.items()) / mass if mass > 0 else float(chosen),
    )
