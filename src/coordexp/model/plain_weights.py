"""Saving a model with offsets, but without PEFT, as the plain model that computes the same.

A model trained as a whole has no adapter checkpoint for its tables to live in. What is saved is
a plain checkpoint whose coord rows have the offsets added, and beside it `coord_offset.pt` with the
tables themselves (not `.safetensors`: servers load every such file that they find). The first is
for everyone; the second lets the run go on exactly where it was, because the rows below the offsets
are the base's, which have not changed.

Shapes: `V` vocabulary, `D` width, `K` bins.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from coordexp.errors import CheckpointError
from coordexp.model.coord_offset import ADAPTER_NAME, OffsetHead, find_offset_head
from coordexp.model.shifted_rows import shift_rows

TABLES_NAME = "coord_offset.pt"

_TABLE = f".{ADAPTER_NAME}.rows"
_BASE = ".base.weight"


def keeps_own_tables(model: nn.Module) -> bool:
    """Return whether a model has offsets that no adapter checkpoint carries."""
    return not isinstance(model, PeftModel) and find_offset_head(model) is not None


def is_wrapped(model: nn.Module, name: str) -> bool:
    """Return whether a weight lies where a plain checkpoint and a model with offsets differ."""
    head = find_offset_head(model)
    return head is not None and name.startswith(tuple(f"{p}." for p in _places(model, head)))


@contextmanager
def plain_weights(
    model: nn.Module, state_dict: Mapping[str, Tensor] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Give the weights to save, and have the model's configuration say whether they are tied.

    ::

        with plain_weights(model) as weights:
            model.save_pretrained(directory, state_dict=weights)

    Args:
        model: A transformers model with the coord-offset adapter, not wrapped by PEFT.
        state_dict: Its weights, where they had to be gathered.

    Raises:
        CheckpointError: If there is no such adapter.
    """
    head = find_offset_head(model)
    if head is None or not isinstance(model, PreTrainedModel):
        raise CheckpointError("expected a transformers model with the coord-offset adapter")
    state = dict(model.state_dict() if state_dict is None else state_dict)
    one_table = head.is_tied and head.weight is head.embedding.weight
    embedding_name, head_name = _places(model, head)
    plain = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith((f"{embedding_name}.", f"{head_name}."))
    }
    embed_rows = state[embedding_name + _TABLE]
    plain[f"{embedding_name}.weight"] = _shifted(state[embedding_name + _BASE], embed_rows, head)
    if not one_table:
        # Of tied tables a gathered state may hold the embedding's alone.
        table = state.get(head_name + _BASE, state[embedding_name + _BASE])
        rows = embed_rows if head.is_tied else state[head_name + _TABLE]
        plain[f"{head_name}.weight"] = _shifted(table, rows, head)
    with _says_tied(model.config, tied=one_table):
        yield plain


def save_offset_tables(
    model: nn.Module, directory: Path, state_dict: Mapping[str, Tensor] | None = None
) -> None:
    """Write the tables of a model, or of its gathered weights, beside its plain weights."""
    state = model.state_dict() if state_dict is None else state_dict
    tables = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in state.items()
        if name.endswith(_TABLE)
    }
    torch.save(tables, directory / TABLES_NAME)


@torch.no_grad()
def load_offset_tables(model: nn.Module, directory: Path) -> None:
    """Put saved tables back into a model whose base is the one that they were trained on.

    Raises:
        CheckpointError: If they are not there, or are others than the model's.
    """
    path = directory / TABLES_NAME
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    tables = {name: rows for name, rows in model.named_parameters() if name.endswith(_TABLE)}
    if saved.keys() != tables.keys():
        raise CheckpointError(f"{path}: holds {sorted(saved)}, the model has {sorted(tables)}")
    for name, rows in tables.items():
        if saved[name].shape != rows.shape:
            raise CheckpointError(
                f"{path}: {name} has the shape {tuple(saved[name].shape)}, the model's "
                f"{tuple(rows.shape)}"
            )
        rows.copy_(saved[name])


def _places(model: nn.Module, head: OffsetHead) -> tuple[str, str]:
    names = {module: name for name, module in model.named_modules()}
    return names[head.embedding], names[head]


def _shifted(
    table: Float[Tensor, "V D"], offsets: Float[Tensor, "K D"], head: OffsetHead
) -> Float[Tensor, "V D"]:
    """Return a copy of a table with the offsets added."""
    result = table.detach().clone()
    shift_rows(result, offsets, ids=range(head.first_id, head.first_id + head.num_bins))
    return result


@contextmanager
def _says_tied(config: PretrainedConfig, *, tied: bool) -> Iterator[None]:
    # Some families' language models say nothing of it.
    both = (config, config.get_text_config())
    blocks = [block for block in both if hasattr(block, "tie_word_embeddings")]
    before = [block.tie_word_embeddings for block in blocks]
    for block in blocks:
        block.tie_word_embeddings = tied
    try:
        yield
    finally:
        for block, value in zip(blocks, before, strict=True):
            block.tie_word_embeddings = value


@contextmanager
def generating_with_cache(config: PretrainedConfig) -> Iterator[None]:
    """Save a model that generates with a cache, whatever training needs."""
    text = config.get_text_config()
    before = config.use_cache, text.use_cache
    config.use_cache = text.use_cache = True
    try:
        yield
    finally:
        config.use_cache, text.use_cache = before
