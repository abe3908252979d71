"""Folding coord offsets into the vocabulary matrices.

| base | `tie_head` | result |
|---|---|---|
| tied | true | one table, still tied |
| tied | false | two tables, `tie_word_embeddings: false` |
| untied | true or false | two tables |
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from coordexp.errors import CheckpointError
from coordexp.model.coord_offset import OffsetEmbedding, OffsetHead

TIED_WEIGHTS = {"lm_head.weight": "model.language_model.embed_tokens.weight"}


@torch.no_grad()
def bake_coord_offsets(model: PreTrainedModel) -> None:
    """Add the learned rows to the weights and put the plain modules back, in place.

    Raises:
        CheckpointError: If the model has no coord-offset adapter.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embedding, OffsetEmbedding) or not isinstance(head, OffsetHead):
        raise CheckpointError("the model has no coord-offset adapter to bake")
    rows = slice(embedding.first_id, embedding.first_id + embedding.num_bins)
    embed_offset, head_offset = embedding.coord_offset_adapter(), head.offsets()
    was_tied = head.base.weight is embedding.base.weight
    stays_tied = was_tied and head.is_tied
    if not stays_tied:
        head.base.weight = nn.Parameter(head.base.weight.clone(), requires_grad=False)
        head.base.weight[rows] += head_offset.to(head.base.weight.dtype)
    embedding.base.weight[rows] += embed_offset.to(embedding.base.weight.dtype)
    model.set_input_embeddings(embedding.base)
    model.set_output_embeddings(head.base)
    model._tied_weights_keys = dict(TIED_WEIGHTS)  # noqa: SLF001 - what installing has renamed
    if was_tied and not stays_tied:
        model.config.tie_word_embeddings = False
        model.config.text_config.tie_word_embeddings = False
