"""Which labels are coordinates, and which bins they name.

Shapes: `T` tokens, `K` bins. Positions come from the labels alone, never from a prediction.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from coordexp.objective.contract import StepCounts

IGNORE_INDEX = -100


def label_bins(
    labels: Int[Tensor, " T"], coord_ids: Int[Tensor, " K"], vocab_size: int
) -> Int[Tensor, " T"]:
    """Return the bin that each label names, -1 where it is text or ignored.

    Args:
        labels: Vocabulary ids, or -100.
        coord_ids: The coord ids in bin order.
        vocab_size: Number of vocabulary rows.

    Example:
        >>> label_bins(torch.tensor([-100, 4, 7, 8]), torch.tensor([7, 8]), 9)
        tensor([-1, -1,  0,  1])
    """
    bin_of_id = labels.new_full((vocab_size,), -1)
    bin_of_id[coord_ids] = torch.arange(len(coord_ids), device=labels.device, dtype=labels.dtype)
    return torch.where(labels == IGNORE_INDEX, -1, bin_of_id[labels.clamp_min(0)])


def text_mask(labels: Int[Tensor, " T"], bins: Int[Tensor, " T"]) -> Bool[Tensor, " T"]:
    """Return which labels are supervised and no coordinate."""
    return (labels != IGNORE_INDEX) & (bins < 0)


def count_targets(labels: Int[Tensor, "B T"], coord_ids: range) -> StepCounts:
    """Return how many next-token targets a batch of unshifted labels holds."""
    targets = labels[:, 1:]
    supervised = int((targets != IGNORE_INDEX).sum())
    coord = int(((targets >= coord_ids.start) & (targets < coord_ids.stop)).sum())
    return StepCounts(text=supervised - coord, coord=coord)
