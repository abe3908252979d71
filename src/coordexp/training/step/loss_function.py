"""What `model.loss_function` is during training.

It turns hidden states and labels into the stage-1 loss.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from coordexp.model.coord_offset import OffsetHead
from coordexp.model.hidden_head import LossHead
from coordexp.objective import (
    Backend,
    CoordTarget,
    CoordWeights,
    Stage1Output,
    StepCounts,
    stage1_loss,
)


@dataclass(frozen=True, slots=True)
class Objective:
    """The stage-1 objective with all its settings.

    Args:
        coord_ids: In bin order; empty for the text baseline.
        weights: Of the coord terms.
        target: Shape of the taught distribution.
        backend: What computes it.
    """

    coord_ids: range
    weights: CoordWeights
    target: CoordTarget
    backend: Backend

    @property
    def teaches_coords(self) -> bool:
        """Whether there are coord tokens to teach, or text alone."""
        return len(self.coord_ids) > 0


class Stage1LossFunction:
    """Called by Hugging Face's own forward, so that DDP, FSDP and PEFT see nothing unusual.

    Args:
        head: Emits hidden states while the loss is computed, and holds the rows.
        objective: The settings.
    """

    def __init__(self, head: LossHead, objective: Objective) -> None:
        self._head = head
        self._objective = objective
        self._coord_ids = torch.arange(objective.coord_ids.start, objective.coord_ids.stop)
        self.last: Stage1Output | None = None

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        num_items_in_batch: StepCounts | None = None,
        **_: object,
    ) -> Tensor:
        """Return the loss.

        Args:
            logits: In truth hidden states `[B, T, D]`; the name is transformers'.
            labels: `[B, T]`, not shifted.
            num_items_in_batch: The step's counts; the name is transformers'.
        """
        hidden = logits[:, :-1].flatten(0, 1)
        if self._coord_ids.device != hidden.device:
            self._coord_ids = self._coord_ids.to(hidden.device)
        head = self._head
        self.last = stage1_loss(
            hidden,
            head.weight,
            labels[:, 1:].flatten(),
            coord_ids=self._coord_ids,
            head_offset=head.offsets() if isinstance(head, OffsetHead) else None,
            weights=self._objective.weights,
            target=self._objective.target,
            denominators=num_items_in_batch,
            backend=self._objective.backend,
        )
        return self.last.loss
