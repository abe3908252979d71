"""What one rank reads of a feed, in training and evaluation alike.

transformers would hand its loader to accelerate, which repeats records where the last batches do
not divide among the ranks. Here every rank reads its share of a `Schedule`; a short rank gets an
empty batch, and no record comes twice.

The number of packs differs from epoch to epoch, where transformers takes every epoch to be as long
as the first. So the schedule counts the steps, and a resumed run goes on at
`Schedule.locate(global_step)`: the batches before it are left out by the sampler, and none of their
records is read. The order of the data has no state; it follows from seed and epoch.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import TrainingArguments
from typing_extensions import override

from coordexp.data.plan.schedule import FixedBatches, InFileOrder, Schedule, Shuffled
from coordexp.training.step.feed import RECORDS, Collate, Feed, Indexed


class ShareSampler(Sampler[list[int]]):
    """The batches of one rank, epoch by epoch.

    Args:
        schedule: Of all ranks.
        rank: Whose share.
    """

    def __init__(self, schedule: Schedule, rank: int) -> None:
        self.schedule = schedule
        self.rank = rank
        self.epoch = 0

    def __len__(self) -> int:
        return self.schedule.passes(self.epoch)

    @override
    def __iter__(self) -> Iterator[list[int]]:
        return map(list, self.schedule.share(self.epoch, self.rank))


class EpochLength(NamedTuple):
    """How long an epoch is, on every rank."""

    passes: int
    steps: int


class FeedShare:
    """The share of one rank.

    Args:
        feed: What all of them read.
        schedule: Which batches each of them sees, step by step.
        rank: Whose share.
    """

    def __init__(self, feed: Feed, schedule: Schedule, rank: int) -> None:
        self._feed = feed
        self._schedule = schedule
        self._sampler = ShareSampler(schedule, rank)

    def run_length(self, max_steps: int, epochs: float) -> tuple[int, int]:
        """Return how many epochs a run reaches into, and its steps.

        Args:
            max_steps: Its steps, where that is positive.
            epochs: Else that many, or parts of them.
        """
        steps = max_steps if max_steps > 0 else self._schedule.total_steps(epochs)
        return self._schedule.locate(steps - 1)[0] + 1, steps

    def epoch_length(self, epoch: int) -> EpochLength:
        """Return how long an epoch is."""
        return EpochLength(self._schedule.passes(epoch), self._schedule.steps(epoch))

    def place_in_run(self, step: int, steps: int, epochs: int) -> tuple[int, int]:
        """Return the epoch that a run goes on in, and how many of its passes are done.

        Args:
            step: How many steps are done.
            steps: Of the whole run; where they are all done, no epoch is left to go on in.
            epochs: That the run reaches into.
        """
        # Of a run that was killed after its last checkpoint, transformers would train one step
        # more.
        return (epochs, 0) if step >= steps else self._schedule.locate(step)

    def begin_epoch(self, epoch: int) -> EpochLength:
        """Turn to an epoch, of which the loader then gives the batches, and return its length."""
        self._sampler.epoch = epoch
        self._feed.set_epoch(epoch)
        return self.epoch_length(epoch)

    def places(self, inputs: Mapping[str, Tensor]) -> list[str]:
        """Return where the records of a batch stand, such as `train.jsonl:17`."""
        if RECORDS not in inputs:
            return []
        return [self._feed.place(index) for index in inputs[RECORDS].tolist()]

    def loader(self, args: TrainingArguments) -> DataLoader[Any]:
        """Return what reads the batches, as the arguments say how."""
        return DataLoader(
            self._feed,
            batch_sampler=self._sampler,
            collate_fn=self._feed.collate_numbered,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
            # Its own: what a loader draws when an epoch begins must not move the random numbers of
            # the model.
            generator=torch.Generator(),
        )


def training_share(
    dataset: Any,  # noqa: ANN401 - of the Trainer's many kinds, one with a length
    collate: Any,  # noqa: ANN401
    args: TrainingArguments,
    *,
    shuffles: bool,
) -> FeedShare:
    """Return what this rank reads in training.

    Args:
        dataset: A feed, or anything with a length, whose records are shuffled from `data_seed`.
        collate: Makes the batches, where it is no feed.
        args: Say who this rank is, and how large batches are.
        shuffles: Whether that order is asked for.
    """
    seed = args.seed if args.data_seed is None else args.data_seed
    feed = feed_of(
        dataset,
        collate,
        batch_size=args.train_batch_size,
        shuffle_seed=seed if shuffles else None,
    )
    return _share_of(feed, args, accumulation=args.gradient_accumulation_steps)


def evaluation_share(
    dataset: Any,  # noqa: ANN401
    collate: Any,  # noqa: ANN401
    args: TrainingArguments,
) -> FeedShare:
    """Return what this rank reads in an evaluation, in the order of the records."""
    feed = feed_of(dataset, collate, batch_size=args.eval_batch_size, shuffle_seed=None)
    return _share_of(feed, args, accumulation=1)


def _share_of(feed: Feed, args: TrainingArguments, *, accumulation: int) -> FeedShare:
    schedule = Schedule(plan=feed.plan, world_size=args.world_size, accumulation=accumulation)
    return FeedShare(feed, schedule, args.process_index)


def feed_of(
    dataset: Feed | Indexed, collate: Collate, *, batch_size: int, shuffle_seed: int | None
) -> Feed:
    """Return a dataset as a feed.

    A dataset that is a `Feed` brings its plan and its collator. Of any other, each epoch's records
    are shuffled, and the given collator makes the batches; it is called without examples where a
    rank has none left.

    Args:
        dataset: With a length.
        collate: Makes a batch of its examples.
        batch_size: Examples in a batch.
        shuffle_seed: Of their order; None leaves them in their order.
    """
    if isinstance(dataset, Feed):
        return dataset
    everything = range(len(dataset))
    order = InFileOrder(everything) if shuffle_seed is None else Shuffled(everything, shuffle_seed)
    return Feed(dataset, FixedBatches(order, batch_size), collate)
