"""The processes of one run, as `torchrun` or `accelerate launch` starts them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import PartialState

from coordexp.processes import world_size


def _alone() -> None:
    """Wait for nobody."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which process this is.

    Args:
        rank: 0 joins the parts and speaks.
        count: Of all processes.
        wait: Returns when every process has come this far.
    """

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = _alone


@contextmanager
def launched_ranks() -> Iterator[Ranks]:
    """Give the ranks of this run; on GPUs each rank has its own from here on."""
    if world_size() == 1:
        yield Ranks()
        return
    state = PartialState(cpu=not torch.cuda.is_available())
    try:
        yield Ranks(state.process_index, state.num_processes, state.wait_for_everyone)
    finally:
        state.destroy_process_group()
