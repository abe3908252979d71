"""The processes of one run, as `torchrun` or `accelerate launch` starts them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import torch
from accelerate import PartialState
from torch import distributed

from coordexp.processes import world_size

_LONGEST_WAIT = timedelta(days=30)  # of the rank that is done first for the one that is done last


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
        # A group of its own: that of NCCL gives up after ten minutes, and has the GPU spin until
        # then. Nobody waits long for one that was killed: its connection breaks.
        group = distributed.new_group(timeout=_LONGEST_WAIT, backend="gloo")
        wait = partial(distributed.barrier, group)
        yield Ranks(state.process_index, state.num_processes, wait)
    finally:
        state.destroy_process_group()
