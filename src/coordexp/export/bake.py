"""The plan of a merged checkpoint: which tensors are copied, and how the others are made.

| base | `tie_head` | result |
|---|---|---|
| tied | true, or no coord offsets | one table, still tied |
| tied | false | two tables, `tie_word_embeddings: false` |
| untied | true or false | two tables |

Nothing is read or computed while planning; `coordexp.model.shards.write_weights` asks for one
tensor after the other. In memory at once are one tensor and, for a LoRA layer, its adapter and a
few blocks of rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from peft import LoraConfig
from torch import Tensor

from coordexp.errors import CheckpointError
from coordexp.export.base_layout import AdaptedWeight, BaseLayout
from coordexp.export.lora_layer import merge_expert_stack, merge_lora_layer
from coordexp.export.saved_adapter import SavedAdapter
from coordexp.model.card import WeightsCard
from coordexp.model.shard_writing import SHARD_BYTES, AnyTensor, NewTensor
from coordexp.model.shards import StoredTensor
from coordexp.model.shifted_rows import shift_rows

_MATRIX = 2


@dataclass(frozen=True, slots=True)
class BakePlan:
    """A merged checkpoint before it is written.

    Args:
        shards: Every tensor, file by file; the base's files are kept.
        tied: Whether embedding and head still share one table.
    """

    shards: list[list[AnyTensor]]
    tied: bool


def plan_bake(layout: BaseLayout, adapter: SavedAdapter, card: WeightsCard) -> BakePlan:
    """Return how base and adapter become one checkpoint.

    Raises:
        CheckpointError: If an adapter's tensor has no place in the base, or a table is missing.
    """
    offsets = _offsets(layout, adapter, card)
    new: dict[str, NewTensor] = {}
    for name, leaves in adapter.layers.items():
        weight = _weight_of(name, leaves, layout, adapter)
        make = partial(_merged, name, weight.stored, leaves, adapter.config)
        if weight.parameter in layout.stacks:
            make = partial(_merged_stack, weight, leaves, adapter.config)
        new[weight.stored.name] = _replacing(weight.stored, make)
    for table, source, rows in offsets:
        new[table] = _replacing(source, partial(_shifted, source, rows, card), name=table)
    shards: list[list[AnyTensor]] = [
        [new.pop(tensor.name, tensor) for tensor in shard] for shard in layout.weights.shards
    ]
    for added in new.values():  # the head of a base that had none of its own
        if sum(tensor.num_bytes for tensor in (*shards[-1], added)) > SHARD_BYTES:
            shards.append([])
        shards[-1].append(added)
    return BakePlan(
        shards=shards,
        tied=layout.tied and card.tie_head is not False,
    )


def _weight_of(
    name: str, leaves: dict[str, StoredTensor], layout: BaseLayout, adapter: SavedAdapter
) -> AdaptedWeight:
    """Return the weight that a layer of the adapter is merged into."""
    down, up = leaves.get("lora_A.weight"), leaves.get("lora_B.weight")
    weight = layout.adapted(
        name, rows=up.shape[0] if up else 0, columns=down.shape[-1] if down else 0
    )
    if (
        weight is None
        or (len(weight.stored.shape) != _MATRIX and weight.parameter not in layout.stacks)
        or not weight.stored.dtype.is_floating_point
    ):
        raise CheckpointError(
            f"{adapter.file}: adapts {name}, which is no plain linear layer of the base and none "
            "of its experts"
        )
    return weight


def _offsets(
    layout: BaseLayout, adapter: SavedAdapter, card: WeightsCard
) -> list[tuple[str, StoredTensor, StoredTensor]]:
    """Return, for every table that changes, its name, what it is made from and what is added."""
    promised = {None: set(), True: {layout.embedding}, False: {layout.embedding, layout.head}}
    if adapter.tables.keys() != promised[card.tie_head]:
        raise CheckpointError(
            f"{adapter.file}: expected coord-offset tables of {sorted(promised[card.tie_head])}, "
            f"got {sorted(adapter.tables)}"
        )
    if card.tie_head is None:
        return []
    embedding, head = layout.embedding_table, layout.head_table
    embed_rows = adapter.tables[layout.embedding]
    head_rows = embed_rows if card.tie_head else adapter.tables[layout.head]
    offsets = [(embedding.name, embedding, embed_rows)]
    if head is not None:
        offsets.append((head.name, head, head_rows))
    elif not card.tie_head:
        offsets.append((f"{layout.head}.weight", embedding, head_rows))
    return offsets


def _replacing(
    source: StoredTensor, make: Callable[[], Tensor], *, name: str | None = None
) -> NewTensor:
    return NewTensor(name or source.name, source.dtype, source.shape, make)


def _merged(
    name: str, weight: StoredTensor, leaves: dict[str, StoredTensor], config: LoraConfig
) -> Tensor:
    return merge_lora_layer(name, weight.load(), leaves, config)


def _merged_stack(
    weight: AdaptedWeight, leaves: dict[str, StoredTensor], config: LoraConfig
) -> Tensor:
    stack, name = weight.stored.load(), weight.parameter
    return merge_expert_stack(name, stack, leaves, config, is_turned=weight.is_turned)


def _shifted(source: StoredTensor, offset: StoredTensor, card: WeightsCard) -> Tensor:
    """Return a table with the learned rows added."""
    if card.coord_ids is None:
        raise TypeError("coord offsets without coord ids")
    first, last = card.coord_ids
    table = source.load()
    shift_rows(table, offset.load(), ids=range(first, last + 1))
    return table
