"""Reading no more rows of the output head than a choice has options.

A coord slot reads the K coord rows of some 150,000, a choice between two pieces of structure two.
The coord-offset adapter's rows are added as the head itself does it.

Shapes: `N` places, `D` width, `V` vocabulary, `K` bins, `M` options.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.model.coord_offset import OffsetHead


class HeadRows:
    """The output head of a model, by rows.

    Args:
        model: In evaluation mode; what it has learned may not change while this is used.
        vocab: Where its coord rows are.

    Raises:
        CheckpointError: If the head is neither a plain linear layer nor one with coord offsets.
    """

    def __init__(self, model: PreTrainedModel, vocab: CoordVocab) -> None:
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Linear | OffsetHead):
            raise CheckpointError(f"expected a linear output head, got {type(head).__name__}")
        self._head = head
        self._weight: Tensor = head.weight
        self._coord_rows = self._weight[vocab.ids.start : vocab.ids.stop]
        self._offsets = (
            head.offsets().to(self._weight.dtype) if isinstance(head, OffsetHead) else None
        )
        self._options: dict[tuple[int, ...], Tensor] = {}

    @property
    def vocab_size(self) -> int:
        """Rows of the whole head."""
        return len(self._weight)

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return self._weight.device

    def every(self, hidden: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """Return the logits of the whole vocabulary."""
        return cast(Tensor, self._head(hidden)).float()

    def coords(self, hidden: Float[Tensor, "N D"]) -> Float[Tensor, "N K"]:
        """Return the logits of the coord ids, in bin order."""
        logits = hidden @ self._coord_rows.T
        if self._offsets is not None:
            logits = logits + hidden @ self._offsets.T
        return logits.float()

    def options(
        self, hidden: Float[Tensor, "N D"], token_ids: tuple[int, ...]
    ) -> Float[Tensor, "N M"]:
        """Return the logits of some ids, none of them a coord id."""
        if token_ids not in self._options:
            index = torch.tensor(token_ids, device=self._weight.device)
            self._options[token_ids] = self._weight[index]
        return (hidden @ self._options[token_ids].T).float()
