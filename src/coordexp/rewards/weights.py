"""How much each term counts."""

import math
from collections.abc import Iterable, Mapping

from coordexp.errors import InputError

# Where to start; `docs/rewards.md` says why. F1 is what is wanted, nearness its slope, and the rest
# is cheap to earn, so that it must not pay.
STARTING_WEIGHTS: Mapping[str, float] = {
    "found": 0.6,
    "nearness": 0.2,
    "outlines": 0.1,
    "count": 0.05,
    "form": 0.05,
}


def check_weights(weights: Mapping[str, float], known: Iterable[str]) -> None:
    """Check that weights can make a mean.

    Args:
        weights: By the names of terms.
        known: The terms there are.

    Raises:
        InputError: If a term is unknown, a weight no finite number from 0 on, or all are 0.
    """
    names = sorted(known)
    for name, weight in weights.items():
        if name not in names:
            raise InputError(f"rewards: no term {name!r}; there are {', '.join(names)}")
        if not 0 <= weight < math.inf:
            raise InputError(
                f"rewards: weight of {name}: expected a number from 0 on, got {weight}"
            )
    if not any(weights.values()):
        raise InputError(f"rewards: expected at least one weight above 0, of {', '.join(names)}")
