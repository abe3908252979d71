"""What a merged checkpoint must hold, said anew from the adapter's own files.

| written tensor | must be |
|---|---|
| the embedding | the base's; its coord rows `round(base + offset)`, added in float32, bit for bit |
| the head's own table | the same with the base's head, or with its embedding where they were tied |
| a layer with LoRA or DoRA | the papers' formulas in float64, but for rounding (`exact_lora`) |
| experts with LoRA | the same for the matrix of each |
| every other | the base's, bit for bit |

*Independent* means that nothing which decides or computes while baking is asked: not the plan, not
PEFT, not the reader of the weights. Which tensors change is read from the adapter's file, the
numbers are computed by other formulas in another precision, and bytes come through safetensors. Two
things are shared, for there is one truth to each: which of the base's tensors is which parameter of
the model (`BaseLayout`), and the card. A mistake there gives a model that says something else, and
for that the logits are compared.
"""

import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from coordexp.errors import CheckpointError, CoordExpError
from coordexp.export.base_layout import BaseLayout
from coordexp.export.exact_lora import (
    ExpertFactors,
    LoraFactors,
    expert_factors,
    lora_factors,
)
from coordexp.export.tensor_reader import open_tensors
from coordexp.model.load import ADAPTER_CONFIG, ADAPTER_WEIGHTS

_KEY = re.compile(
    r"base_model\.model\.(?P<module>.+)\."
    r"(?P<leaf>lora_A\.weight|lora_B\.weight|lora_magnitude_vector|coord_offset_adapter\.rows)"
)
_OFFSET = "coord_offset_adapter.rows"


@dataclass(frozen=True, slots=True)
class ShiftedTable:
    """A vocabulary table with learned coord rows.

    Args:
        source: The base's tensor that it is made from.
        offset: What is added to its coord rows.
    """

    source: str
    offset: Tensor


@dataclass(frozen=True, slots=True)
class Expected:
    """A merged checkpoint as it must be.

    Args:
        tables: The vocabulary tables with learned rows, by name.
        layers: The merged layers, and stacks of experts, by name.
        tied: Whether embedding and head share one table.
    """

    tables: dict[str, ShiftedTable]
    layers: dict[str, LoraFactors | ExpertFactors]
    tied: bool

    def source(self, name: str) -> str:
        """Return the name of the base's tensor that one is made from."""
        return self.tables[name].source if name in self.tables else name


def load_expected(layout: BaseLayout, checkpoint: Path) -> Expected:
    """Return what merging an adapter must give.

    The adapter's tensors are kept in memory; they are small.

    Raises:
        CoordExpError: If the adapter holds what no merged checkpoint can.
    """
    config = json.loads((checkpoint / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    modules: dict[str, dict[str, Tensor]] = {}
    with ExitStack() as files:
        for name, tensor in open_tensors(checkpoint / ADAPTER_WEIGHTS, files).items():
            found = _KEY.fullmatch(name)
            if found is None:
                raise CheckpointError(f"{checkpoint}: {name} cannot be merged")
            modules.setdefault(found["module"], {})[found["leaf"]] = tensor.whole()
    offsets = {name: leaves.pop(_OFFSET) for name, leaves in modules.items() if _OFFSET in leaves}
    layers = dict(
        _factors(layout, name, leaves, config) for name, leaves in modules.items() if leaves
    )
    tied = layout.tied and layout.head not in offsets
    return Expected(tables=_tables(layout, offsets), layers=layers, tied=tied)


def _factors(
    layout: BaseLayout, module: str, leaves: dict[str, Tensor], config: dict[str, object]
) -> tuple[str, LoraFactors | ExpertFactors]:
    """Return the name of a tensor in the files, and the adapter that it is merged with."""
    down, up = leaves.get("lora_A.weight"), leaves.get("lora_B.weight")
    weight = layout.adapted(
        module,
        rows=0 if up is None else len(up),
        columns=0 if down is None else down.shape[-1],
    )
    if weight is None:
        raise CoordExpError(f"{module}: is adapted, and the base has no such layer")
    name = weight.parameter
    if name not in layout.stacks:
        return weight.stored.name, lora_factors(module, leaves, config)
    experts = layout.stacks[name][0]
    factors = expert_factors(name, leaves, config, experts=experts, is_turned=weight.is_turned)
    return weight.stored.name, factors


def _tables(layout: BaseLayout, offsets: dict[str, Tensor]) -> dict[str, ShiftedTable]:
    if strange := offsets.keys() - {layout.embedding, layout.head}:
        raise CoordExpError(f"{min(strange)}: has coord offsets, and is no vocabulary table")
    if not offsets:
        return {}
    embedding, head = layout.embedding_table, layout.head_table
    shared = offsets[layout.embedding]
    tables = {embedding.name: ShiftedTable(embedding.name, shared)}
    if head is not None:
        tables[head.name] = ShiftedTable(head.name, offsets.get(layout.head, shared))
    elif layout.head in offsets:
        tables[f"{layout.head}.weight"] = ShiftedTable(embedding.name, offsets[layout.head])
    return tables
