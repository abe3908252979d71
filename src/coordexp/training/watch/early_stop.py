"""When a run has learned all it will: AP has not risen for long.

Not transformers' `EarlyStoppingCallback`: it reads the metrics of `Trainer.evaluate`, which holds
losses, and wants the best model loaded at the end. AP comes from asking a checkpoint that is saved.
"""

from collections.abc import Sequence


class EarlyStop(Exception):  # noqa: N818 - no error: the run ends where it would have ended
    """A run goes on from the very checkpoint at which it had to end."""


def is_stale(aps: Sequence[float | None], *, patience: int) -> bool:
    """Return whether none of the last `patience` evaluations has a higher AP than those before.

    Args:
        aps: In the order of the steps; None where AP could not be measured.
        patience: How many evaluations without a higher AP end a run.

    Example:
        >>> is_stale([0.5, 0.25, 0.5], patience=2), is_stale([0.5, 0.25, 0.75], patience=2)
        (True, False)
    """
    found = [-1.0 if ap is None else ap for ap in aps]
    return bool(found) and len(found) - 1 - found.index(max(found)) >= patience
