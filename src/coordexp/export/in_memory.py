"""What the adapter itself says, and what it says when the whole model is merged in memory.

The merged files are compared with this. It takes another road to the same weights: PEFT merges all
layers of a loaded model at once, the coord offsets are baked module by module, and nothing is
streamed.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from coordexp.errors import CheckpointError
from coordexp.export.plain_reload import answers_of, kept_logits, numbered
from coordexp.model.coord_offset import ADAPTER_NAME, OffsetEmbedding, OffsetHead, find_offset_head
from coordexp.model.four_bit import FourBits
from coordexp.model.load import load_checkpoint


def adapter_answers(
    base: Path,
    checkpoint: Path,
    questions: Mapping[str, Tensor],
    *,
    rounded_to: Mapping[str, torch.dtype] | None,
) -> dict[str, Tensor]:
    """Return an adapter's answers, computed in float32.

    Args:
        base: That it was trained on.
        checkpoint: The adapter.
        questions: The probe.
        rounded_to: The dtypes that merged tensors are stored in, by parameter name, where that
            rounds them; None where all is float32. With them come the logits of the model merged in
            memory and rounded alike (`rounded`), and of the adapter without its coord offsets
            (`without`).
    """
    adapted = load_checkpoint(base, checkpoint, dtype="float32").eval()
    answers = answers_of(adapted, questions)
    if rounded_to is not None:
        if find_offset_head(adapted) is not None:
            with _zero_offsets(adapted):
                answers |= numbered("without", kept_logits(adapted, questions))
        model = merge_in_memory(adapted)
        _round(model, rounded_to)
        answers |= numbered("rounded", kept_logits(model, questions))
        del model
    del adapted
    gc.collect()
    return answers


def quantised_logits(
    base: Path, checkpoint: Path, questions: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the logits of an adapter on its base in four bits, as it was trained.

    Raises:
        InputError: If nothing can be quantised here.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bits = FourBits(torch.float32, device)
    adapted = load_checkpoint(base, checkpoint, dtype="float32", four_bits=bits).eval()
    asked = {name: tensor.to(device) for name, tensor in questions.items()}
    answers = numbered("logits", (each.cpu() for each in kept_logits(adapted, asked)))
    del adapted
    gc.collect()
    return answers


def merge_in_memory(adapted: PeftModel) -> PreTrainedModel:
    """Return the plain model that an adapter and its base become; both are used up."""
    model = cast(Callable[[], PreTrainedModel], adapted.merge_and_unload)()
    if find_offset_head(model) is not None:
        bake_coord_offsets(model)
    return model


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
    if not (head.base.weight is embedding.base.weight and head.is_tied):
        head.base.weight = nn.Parameter(head.base.weight.clone(), requires_grad=False)
        head.base.weight[rows] += head_offset.to(head.base.weight.dtype)
    embedding.base.weight[rows] += embed_offset.to(embedding.base.weight.dtype)
    model.set_input_embeddings(embedding.base)
    model.set_output_embeddings(head.base)


@torch.no_grad()
def _round(model: nn.Module, rounded_to: Mapping[str, torch.dtype]) -> None:
    """Round weights to what is stored, but keep computing in float32."""
    for name, parameter in model.named_parameters():
        parameter.copy_(parameter.to(rounded_to[name]))


@contextmanager
def _zero_offsets(model: nn.Module) -> Iterator[None]:
    tables = [table for name, table in model.named_parameters() if ADAPTER_NAME in name]
    learned = [table.detach().clone() for table in tables]
    with torch.no_grad():
        for table in tables:
            table.zero_()
        yield
        for table, rows in zip(tables, learned, strict=True):
            table.copy_(rows)
