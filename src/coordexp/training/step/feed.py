"""A dataset that knows which of its records go together, and how they become a batch."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from coordexp.data.plan.schedule import BatchPlan, PackedBatches
from coordexp.processes import is_first_rank
from coordexp.training.step.dataset import RecordDataset

logger = logging.getLogger(__name__)

Collate = Callable[[list[Any]], dict[str, Tensor]]

# The key of a batch that says which records it holds; it never reaches the model.
RECORDS = "record_indices"


class Indexed(Protocol):
    """A dataset with a length."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...  # noqa: ANN401 - whatever its collator takes


class Feed(Dataset[tuple[int, Any]]):
    """What a loop is fed with: examples with their index, so that a batch knows its records.

    Args:
        dataset: Gives the examples.
        plan: Which of them share a forward pass, over all ranks.
        collate: Makes a batch of them, of none too.
    """

    def __init__(self, dataset: Indexed, plan: BatchPlan, collate: Collate) -> None:
        self.dataset = dataset
        self.plan = plan
        self.collate = collate

    def __len__(self) -> int:
        return len(self.dataset)

    @override
    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.dataset[index]

    def collate_numbered(self, numbered: Sequence[tuple[int, Any]]) -> dict[str, Tensor]:
        """Return the batch, with the indices of its records."""
        batch = self.collate([example for _, example in numbered])
        indices = torch.tensor([index for index, _ in numbered], dtype=torch.long)
        return {**batch, RECORDS: indices}

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass over the data, for the order of objects, and say what it leaves out."""
        if isinstance(self.dataset, RecordDataset):
            self.dataset.set_epoch(epoch)
        if not isinstance(self.plan, PackedBatches):
            return
        left_out = self.plan.left_out(epoch)
        if left_out and is_first_rank():
            logger.warning(
                "epoch %d leaves out %d of %d records, in packs that are too empty "
                "(training.packing_drop_last)",
                epoch + 1,
                left_out,
                self.plan.order.count(epoch),
            )

    def place(self, index: int) -> str:
        """Return where a record stands, such as `train.jsonl:17`."""
        if isinstance(self.dataset, RecordDataset):
            return self.dataset.place(index)
        return f"record {index}"
