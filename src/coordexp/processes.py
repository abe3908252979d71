"""Which of a run's processes this one is, as `torchrun` and `accelerate launch` say it.

They do so in the environment, which can be read before torch is imported and before the processes
know one another. Where there is a Trainer or an accelerator, ask that; it counts the same.
"""

import os

from coordexp.errors import InputError


def is_launched() -> bool:
    """Return whether a launcher started this process, alone or among others."""
    return "LOCAL_RANK" in os.environ


def is_first_rank() -> bool:
    """Return whether this process speaks for the run.

    Raises:
        InputError: If the environment holds no number.
    """
    return _number("RANK", alone=0) == 0


def world_size() -> int:
    """Return how many processes the run has.

    Raises:
        InputError: If the environment holds no number, or none that counts processes.
    """
    size = _number("WORLD_SIZE", alone=1)
    if size < 1:
        raise InputError(f"WORLD_SIZE={size} in the environment: a run has at least one process")
    return size


def local_rank() -> int:
    """Return which of its machine's processes this one is, and so which GPU is its own.

    Raises:
        InputError: If the environment holds no number.
    """
    return _number("LOCAL_RANK", alone=0)


def _number(name: str, *, alone: int) -> int:
    text = os.environ.get(name, str(alone))
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"{name}={text!r} in the environment: expected the whole number that a launcher sets; "
            "unset it, or start the run with torchrun"
        ) from None
