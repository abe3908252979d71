"""Which records every step of a run sees, on every rank: a pure function of seed and epoch.

::

    order of the epoch   7 2 9 4 0 5 1 ...          from (data_seed, epoch)
    batches              [7 2] [9 4] [0 5] [1]      fixed size, or packs of best fit
    two ranks            0: [7 2] [0 5]             rank r takes r, r + world_size, ...
                         1: [9 4] [1]               a short rank gets an empty batch

Every record comes exactly once in an epoch. All ranks make the same plan, each for itself, and
nothing is exchanged. To go on after global step N, ask `Schedule.locate(N)` for epoch and passes
done, then `Schedule.share(epoch, rank, start=passes)` for what is left: no record before it is
read. The number of packs differs from epoch to epoch, hence steps are counted epoch by epoch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from coordexp.data.plan.best_fit import pack_best_fit

Batch = Sequence[int]


class RecordOrder(Protocol):
    """Which records an epoch holds, and in which order."""

    def records(self, epoch: int) -> Sequence[int]:
        """Return the epoch's records, the same whenever it is asked."""
        ...

    def count(self, epoch: int) -> int:
        """Return how many there are."""
        ...


@dataclass(frozen=True)
class Shuffled:
    """All of the given records in each epoch, in a random order of its own.

    Args:
        indices: The records.
        seed: Of the order.
    """

    indices: Sequence[int]
    seed: int

    def records(self, epoch: int) -> Sequence[int]:
        """Return the records in the epoch's order."""
        places = np.random.default_rng([self.seed, epoch]).permutation(len(self.indices))
        chosen: list[int] = np.asarray(self.indices)[places].tolist()
        return chosen

    def count(self, epoch: int) -> int:  # noqa: ARG002 - the same in every epoch
        """Return their number."""
        return len(self.indices)


@dataclass(frozen=True)
class InFileOrder:
    """All of the given records as they come, for evaluation.

    Args:
        indices: The records.
    """

    indices: Sequence[int]

    def records(self, epoch: int) -> Sequence[int]:  # noqa: ARG002 - the same in every epoch
        """Return the records."""
        return self.indices

    def count(self, epoch: int) -> int:  # noqa: ARG002
        """Return their number."""
        return len(self.indices)


class BatchPlan(Protocol):
    """Which records share a forward pass, over all ranks."""

    def batches(self, epoch: int) -> Sequence[Batch]:
        """Return the epoch's batches, the same whenever it is asked."""
        ...

    def count(self, epoch: int) -> int:
        """Return how many there are."""
        ...


@dataclass(frozen=True)
class FixedBatches:
    """Batches of so many records, the last one of the epoch perhaps shorter.

    Args:
        order: The records.
        size: Records in a batch.
    """

    order: RecordOrder
    size: int

    def batches(self, epoch: int) -> Sequence[Batch]:
        """Return the epoch's batches."""
        records = self.order.records(epoch)
        return [records[start : start + self.size] for start in range(0, len(records), self.size)]

    def count(self, epoch: int) -> int:
        """Return how many there are, without making them."""
        return math.ceil(self.order.count(epoch) / self.size)


@dataclass(frozen=True)
class PackSettings:
    """How examples are packed.

    Args:
        capacity: Most tokens of a pack.
        buffer: How many examples are looked at together.
        min_fill: Least share of a pack that must be filled, for `drop_last`.
        drop_last: Leave out packs at the end of the epoch that are emptier than `min_fill`.
    """

    capacity: int
    buffer: int
    min_fill: float
    drop_last: bool


@dataclass(frozen=True)
class PackedBatches:
    """Packs of best fit in a random order.

    Args:
        order: The records; packs are made from them as they come.
        lengths: Tokens of every record, by its index.
        settings: How they are packed.
        seed: Of the order of the packs; None leaves them as they are made.
    """

    order: RecordOrder
    lengths: Sequence[int]
    settings: PackSettings
    seed: int | None
    _last: dict[int, Sequence[Batch]] = field(default_factory=dict, compare=False, repr=False)
    _counts: dict[int, int] = field(default_factory=dict, compare=False, repr=False)

    def batches(self, epoch: int) -> Sequence[Batch]:
        """Return the epoch's packs."""
        if epoch not in self._last:
            self._last.clear()  # one epoch is kept: it is asked for again and again
            self._last[epoch] = self._shuffled(self.packs(epoch)[0], epoch)
            self._counts[epoch] = len(self._last[epoch])
        return self._last[epoch]

    def count(self, epoch: int) -> int:
        """Return how many there are."""
        if epoch not in self._counts:
            self.batches(epoch)
        return self._counts[epoch]

    def left_out(self, epoch: int) -> int:
        """Return how many records of the epoch `drop_last` leaves out."""
        return self.order.count(epoch) - sum(map(len, self.batches(epoch)))

    def packs(self, epoch: int) -> tuple[list[Batch], list[Batch]]:
        """Return the packs of the epoch as they are made, and those that `drop_last` leaves out."""
        records = self.order.records(epoch)
        lengths = [self.lengths[index] for index in records]
        settings = self.settings
        found = pack_best_fit(lengths, capacity=settings.capacity, buffer=settings.buffer)
        kept: list[Batch] = []
        dropped: list[Batch] = []
        least = settings.min_fill * settings.capacity
        for number, places in enumerate(found.members):
            filled = sum(lengths[place] for place in places)
            leave_out = settings.drop_last and number >= found.tail and filled < least
            (dropped if leave_out else kept).append([records[place] for place in places])
        return kept, dropped

    def fill(self, epoch: int) -> float:
        """Return the share of all packs' tokens that examples fill."""
        batches = self.batches(epoch)
        filled = sum(self.lengths[index] for batch in batches for index in batch)
        return filled / (self.settings.capacity * max(len(batches), 1))

    def _shuffled(self, packs: list[Batch], epoch: int) -> Sequence[Batch]:
        if self.seed is None:
            return packs
        places = np.random.default_rng([self.seed, epoch, 1]).permutation(len(packs))
        return [packs[place] for place in places]


@dataclass(frozen=True)
class Schedule:
    """How the batches of a plan become passes and optimizer steps.

    A *pass* is one forward and backward on every rank; `accumulation` passes make a step, fewer at
    the end of an epoch.

    Args:
        plan: The batches.
        world_size: Number of ranks.
        accumulation: Passes in a step.
    """

    plan: BatchPlan
    world_size: int
    accumulation: int

    def passes(self, epoch: int) -> int:
        """Return how many passes the epoch takes, the same on every rank."""
        return math.ceil(self.plan.count(epoch) / self.world_size)

    def steps(self, epoch: int) -> int:
        """Return how many optimizer steps the epoch takes."""
        return math.ceil(self.passes(epoch) / self.accumulation)

    def total_steps(self, epochs: float) -> int:
        """Return how many steps so many epochs take, the last one perhaps a part."""
        whole = math.floor(epochs)
        part = math.ceil((epochs - whole) * self.steps(whole)) if epochs > whole else 0
        return sum(self.steps(epoch) for epoch in range(whole)) + part

    def locate(self, step: int) -> tuple[int, int]:
        """Return the epoch that follows `step` done steps, and its passes that are done."""
        epoch = 0
        while step >= (steps := self.steps(epoch)):
            step -= steps
            epoch += 1
        return epoch, step * self.accumulation

    def share(self, epoch: int, rank: int, *, start: int = 0) -> list[Batch]:
        """Return the batches of one rank, an empty one where the last pass has none for it.

        Args:
            epoch: Which pass over the data.
            rank: Whose.
            start: How many passes to leave out, when a run goes on.
        """
        batches = self.plan.batches(epoch)
        mine = list(batches[rank :: self.world_size])
        return [*mine, *[()] * (self.passes(epoch) - len(mine))][start:]
