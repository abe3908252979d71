"""What `model.loss_function` is during training.

It turns hidden states and labels into the stage-1 loss.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from coordexp.model.coord_offset import OffsetHead
from coordexp.model.hidden_head import LossHead, emitting_hidden_states, install_loss_head
from coordexp.objective import (
    Backend,
    CoordTarget,
    CoordWeights,
    Stage1Output,
    StepCounts,
    stage1_loss,
)
from coordexp.objective.masks import count_targets

# A mixture's forward, asked for its routers' logits, adds a loss of theirs to whatever it is given.
ROUTER_LOSS = "output_router_logits"


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

    def count_targets(self, labels: Iterable[Tensor]) -> StepCounts:
        """Return the targets of several micro-batches together.

        Args:
            labels: `[B, T]` of each, not shifted.
        """
        counts = [count_targets(each, self.coord_ids) for each in labels]
        return StepCounts(
            text=sum(count.text for count in counts), coord=sum(count.coord for count in counts)
        )


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
        self._last: Stage1Output | None = None

    def emitting(self) -> AbstractContextManager[None]:
        """Have the head hand on what the loss is made of, for the length of a block."""
        return emitting_hidden_states(self._head)

    @property
    def last_output(self) -> Stage1Output:
        """What the loss of the last micro-batch was made of.

        Raises:
            TypeError: If there was none.
        """
        if self._last is None:
            raise TypeError("the model did not call its loss function; were labels passed?")
        return self._last

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
        self._last = output = stage1_loss(
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
        return output.loss


def install_loss(model: PreTrainedModel, objective: Objective) -> Stage1LossFunction:
    """Give a model the stage-1 loss, and return what computes it.

    Args:
        model: Changed in place: its head can hand on hidden states from now on, and a mixture of
            experts adds no loss of its routers.
        objective: The settings.
    """
    loss = Stage1LossFunction(install_loss_head(model), objective)
    model.loss_function = loss
    text = model.config.get_text_config()
    if hasattr(text, ROUTER_LOSS):
        setattr(text, ROUTER_LOSS, False)
    return loss
