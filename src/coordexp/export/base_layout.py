"""What a base checkpoint holds, and what its tensors are called in the model.

Files may use older names than the model's modules, some families' do; transformers knows the rules,
and a model on the meta device, which has shapes and no weights, knows its embedding and its head.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming, rename_source_key

from coordexp.errors import CheckpointError
from coordexp.families.config_file import load_object
from coordexp.families.known import family_of, load_family
from coordexp.model.experts import expert_stacks
from coordexp.model.shards import StoredTensor, Weights, load_weights

CONFIG = "config.json"
_TIE = "tie_word_embeddings"


@dataclass(frozen=True, slots=True)
class BaseLayout:
    """A base checkpoint, its bytes unread.

    Args:
        weights: Its tensors under the names of the files.
        by_parameter: The same tensors by the model's parameter names.
        embedding: Name of the embedding module.
        head: Name of the head module.
        tied: Whether they share one table.
        stacks: Shapes of the experts' stacks in the model, by parameter name: experts, output rows,
            input columns.
    """

    weights: Weights
    by_parameter: Mapping[str, StoredTensor]
    embedding: str
    head: str
    tied: bool
    stacks: Mapping[str, tuple[int, ...]]

    @property
    def embedding_table(self) -> StoredTensor:
        """The embedding's table."""
        return self.by_parameter[f"{self.embedding}.weight"]

    @property
    def head_table(self) -> StoredTensor | None:
        """The head's own table; None where the files have the embedding's alone."""
        return self.by_parameter.get(f"{self.head}.weight")

    def adapted(self, layer: str, *, rows: int, columns: int) -> "AdaptedWeight | None":
        """Return the weight that an adapter's layer is added to, None where the base has none.

        PEFT names the adapters of a module's parameters by the module, one inside the other
        (`base_layer`), and does not say whose is which. The two stacks of an expert, `[E, 2H, D]`
        and `[E, D, H]`, never have one shape.

        Args:
            layer: Its name in the model.
            rows: Of the matrix that its adapter adds, or of each expert's.
            columns: Likewise.
        """
        linear = f"{layer}.weight"
        if linear in self.by_parameter:
            return AdaptedWeight(linear, self.by_parameter[linear], is_turned=False)
        module = re.sub(r"(\.base_layer)*$", "", layer)
        for name, shape in self.stacks.items():
            if name.rpartition(".")[0] == module and shape[1:] == (rows, columns):
                stored = self.by_parameter[name]
                return AdaptedWeight(name, stored, is_turned=stored.shape != shape)
        return None


@dataclass(frozen=True, slots=True)
class AdaptedWeight:
    """A tensor of a base that an adapter is added to: a matrix, or a stack of one for each expert.

    Args:
        parameter: Its name in the model.
        stored: In the base's files.
        is_turned: Whether the files have a stack's input columns first. transformers exchanges the
            two on loading where the shape is not the model's, and only there.
    """

    parameter: str
    stored: StoredTensor
    is_turned: bool


def load_base_layout(base: Path) -> BaseLayout:
    """Return what a base checkpoint holds.

    Raises:
        CheckpointError: If it has no safetensors weights, is quantised, is of a kind unknown to
            transformers, or lacks its vocabulary tables.
    """
    if "quantization_config" in load_object(base / CONFIG):
        raise CheckpointError(
            f"{base}: is quantised; merge into the base that it was quantised from: put its path "
            "under weights.base in the checkpoint's coordexp.json"
        )
    weights = load_weights(base)
    model = _model_without_weights(base)
    renamings = [
        rule for rule in get_model_conversion_mapping(model) if isinstance(rule, WeightRenaming)
    ]
    by_parameter = {
        rename_source_key(name, renamings, [])[0]: tensor
        for name, tensor in weights.by_name.items()
    }
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    layout = BaseLayout(
        weights=weights,
        by_parameter=by_parameter,
        embedding=_name_of(embedding, model),
        head=_name_of(head, model),
        tied=head.weight is embedding.weight,
        stacks={
            name: tuple(one.shape)
            for name, one in expert_stacks(model, load_family(base).towers).items()
        },
    )
    needed = [layout.embedding] if layout.tied else [layout.embedding, layout.head]
    for module in needed:
        if f"{module}.weight" not in by_parameter:
            raise CheckpointError(f"{base}: {module}.weight is missing in its weights")
    return layout


def untied_config(base: Path) -> dict[str, object]:
    """Return the base's `config.json` with embedding and head untied, at every level."""
    config = load_object(base / CONFIG)
    text = family_of(config, source=base / CONFIG).text_config(config)
    for block in _blocks(config):
        if _TIE in block or block is config or block is text:
            block[_TIE] = False
    return config


def _blocks(config: dict[str, object]) -> Iterator[dict[str, object]]:
    yield config
    for value in config.values():
        if isinstance(value, dict):
            yield from _blocks(value)


def _model_without_weights(base: Path) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(base, local_files_only=True)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{base}: the model cannot be built: {error}") from None
    return model


def _name_of(wanted: nn.Module, model: nn.Module) -> str:
    names: dict[int, str] = {id(module): name for name, module in model.named_modules()}
    return names[id(wanted)]
