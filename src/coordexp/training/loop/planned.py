"""A Trainer that is fed by a plan, on every rank, in training and evaluation alike.

transformers would hand its loader to accelerate, which repeats records where the last batches do
not divide among the ranks. Here every rank reads its share of a `Schedule`; a short rank gets an
empty batch, and no record comes twice.

The number of packs differs from epoch to epoch, where transformers takes every epoch to be as long
as the first. So the schedule counts the steps, and `trainer.train(resume_from_checkpoint=...)` goes
on at `Schedule.locate(global_step)`: the batches before it are left out by the sampler, and none of
their records is read. The order of the data has no state; it follows from seed and epoch.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate import DistributedType
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments
from typing_extensions import override

from coordexp.data.plan.schedule import FixedBatches, InFileOrder, Schedule, Shuffled
from coordexp.errors import CoordExpError
from coordexp.training.step.feed import RECORDS, Feed, Indexed


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


class PlannedTrainer(Trainer):
    """Reads what a plan says and counts its steps.

    A dataset that is a `Feed` brings its plan and its collator; of any other, each epoch's records
    are shuffled from `data_seed`, an evaluation's come in their order, and the Trainer's collator
    makes the batches. Such a collator is called without examples where a rank has none left.
    """

    @override
    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of this rank's share; its epoch is set when an epoch begins."""
        args = self.args
        feed = self._feed(self.train_dataset, batch_size=args.train_batch_size, shuffle=True)
        self._train_feed = feed
        self._schedule = Schedule(
            plan=feed.plan,
            world_size=args.world_size,
            accumulation=args.gradient_accumulation_steps,
        )
        self._sampler = ShareSampler(self._schedule, args.process_index)
        return self._loader(feed, self._sampler)

    @override
    def get_eval_dataloader(
        self,
        eval_dataset: Any = None,  # a name, a dataset or None, as transformers has it
    ) -> DataLoader[Any]:
        """Return the loader of this rank's share of the evaluation."""
        known: Any = self.eval_dataset
        chosen = known if eval_dataset is None else eval_dataset
        dataset = known[chosen] if isinstance(chosen, str) else chosen
        feed = self._feed(dataset, batch_size=self.args.eval_batch_size, shuffle=False)
        self._eval_feed = feed
        schedule = Schedule(plan=feed.plan, world_size=self.args.world_size, accumulation=1)
        return self._loader(feed, ShareSampler(schedule, self.args.process_index))

    @override
    def set_initial_training_values(
        self, args: TrainingArguments, dataloader: DataLoader[Any]
    ) -> tuple[int, int, int, int, int, int | None, int]:
        """Return transformers' figures of the run, its steps counted by the schedule."""
        _, _, examples, samples, batch, _, _ = super().set_initial_training_values(args, dataloader)
        schedule = self._schedule
        steps = args.max_steps
        if steps <= 0:
            steps = schedule.total_steps(args.num_train_epochs)
        epochs = schedule.locate(steps - 1)[0] + 1
        return epochs, schedule.steps(0), examples, samples, batch, schedule.passes(0), steps

    @override
    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Return the epoch to go on in and its passes that are done."""
        super()._init_training_state(*args, **kwargs)
        return self._schedule.locate(self.state.global_step)

    @override
    def _run_epoch(  # type: ignore[override] # called by keyword alone
        self, *, epoch: int, **kwargs: Any
    ) -> None:
        """Run one epoch, which has a number of passes and steps of its own.

        Raises:
            CoordExpError: If the gradients would not be summed over the ranks.
        """
        self._check_wrapped()
        self._sampler.epoch = epoch
        self._train_feed.set_epoch(epoch)
        kwargs["steps_in_epoch"] = self._schedule.passes(epoch)
        kwargs["num_update_steps_per_epoch"] = self._schedule.steps(epoch)
        super()._run_epoch(epoch=epoch, **kwargs)  # type: ignore[no-untyped-call]

    def places(self, inputs: Mapping[str, Tensor], *, training: bool) -> list[str]:
        """Return where the records of a batch stand, such as `train.jsonl:17`."""
        if RECORDS not in inputs:
            return []
        feed = self._train_feed if training else self._eval_feed
        return [feed.place(index) for index in inputs[RECORDS].tolist()]

    def _check_wrapped(self) -> None:
        # An evaluation before the training marks the model as prepared, and accelerate then leaves
        # out DistributedDataParallel without a word.
        kinds = {DistributedType.MULTI_GPU, DistributedType.MULTI_CPU}
        if self.accelerator.distributed_type in kinds and self.model_wrapped is self.model:
            raise CoordExpError(
                "the gradients would not be summed over the ranks, because evaluate() came before "
                "train(); set eval_on_start, or evaluate with a trainer of its own"
            )

    def _feed(self, dataset: Any, *, batch_size: int, shuffle: bool) -> Feed:  # noqa: ANN401
        if isinstance(dataset, Feed):
            return dataset
        indexed: Indexed = dataset
        everything = range(len(indexed))
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        order = Shuffled(everything, seed) if shuffle else InFileOrder(everything)
        collate: Any = self.data_collator
        return Feed(indexed, FixedBatches(order, batch_size), collate)

    def _loader(self, feed: Feed, sampler: ShareSampler) -> DataLoader[Any]:
        args = self.args
        return DataLoader(
            feed,
            batch_sampler=sampler,
            collate_fn=feed.collate_numbered,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
            # Its own: what a loader draws when an epoch begins must not move the random numbers of
            # the model.
            generator=torch.Generator(),
        )
