"""Letting the loss see hidden states instead of logits.

Hugging Face's forward calls the head and hands its output to `model.loss_function`. Inside
`emitting_hidden_states` the head passes hidden states through, so that the loss can walk the
vocabulary itself; outside it is an ordinary head.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from typing_extensions import override

from coordexp.model.coord_offset import OffsetHead


class SwitchableHead(nn.Linear):
    """A plain head that can pass hidden states through.

    It shares its weight with the head that it replaces.
    """

    emits_hidden = False

    @override
    def forward(self, input: Float[Tensor, "*B D"]) -> Float[Tensor, "*B _"]:
        return input if self.emits_hidden else super().forward(input)


LossHead = SwitchableHead | OffsetHead


def install_loss_head(model: PreTrainedModel) -> LossHead:
    """Return the model's head after making sure that it can pass hidden states through.

    A plain head is replaced by one with the same parameter under the same name.

    Raises:
        TypeError: If the head is of an unknown kind.
    """
    head = model.get_output_embeddings()
    if isinstance(head, SwitchableHead | OffsetHead):
        return head
    if type(head) is not nn.Linear or list(head.state_dict()) != ["weight"]:
        raise TypeError(f"expected a linear head without bias, got {head}")
    with torch.device("meta"):
        switchable = SwitchableHead(head.in_features, head.out_features, bias=False)
    switchable.weight = head.weight
    model.set_output_embeddings(switchable)
    return switchable


@contextmanager
def emitting_hidden_states(head: LossHead) -> Iterator[None]:
    """Make the head pass hidden states through for the length of a block."""
    head.emits_hidden = True
    try:
        yield
    finally:
        head.emits_hidden = False
