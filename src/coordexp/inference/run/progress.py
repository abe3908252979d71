"""How far a run of `coordexp predict` is: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Batch = TypeVar("Batch")

# Between two lines of a log file.
SECONDS_BETWEEN_LINES = 30.0


def shown_progress(batches: Iterable[Batch], *, total: int, console: Console) -> Iterator[Batch]:
    """Yield the batches, and show how many are done.

    Args:
        batches: Taken one by one.
        total: How many there are.
        console: Where it is shown.
    """
    if console.is_terminal:
        yield from track(batches, "predict", total=total, console=console)
        return
    told = time.monotonic()
    for done, batch in enumerate(batches, start=1):
        yield batch
        if done == total or time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            console.print(f"predict: {done:,} of {total:,} batches", highlight=False)
