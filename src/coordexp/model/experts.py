"""Mixtures of experts: matrices that are parameters by themselves and no linear layers.

A stack holds one matrix for each expert, and a token is multiplied with those of a few experts that
its layer's router chooses. LoRA on linear layers passes both by, so they are looked for by name.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from coordexp.errors import CheckpointError
from coordexp.families.family import Family
from coordexp.families.towers import Towers, expert_names, unknown_matrices

_TORCH = "torch.nn."


def loose_matrices(model: PreTrainedModel) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield a model's matrices, and stacks of them, that are in no layer of torch's own.

    A linear layer of another library, one in four bits for instance, is derived from torch's.

    They have the names that they have without PEFT's `base_layer`. The vocabulary is no part of it,
    whatever is wrapped around its tables.
    """
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    vocabulary = {module for table in tables for module in table.modules()}
    for place, module in model.named_modules():
        own = type(module).__module__.startswith(_TORCH) or isinstance(module, nn.Linear)
        if own or module in vocabulary:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                yield f"{place.replace('.base_layer', '')}.{name}", parameter


def check_stacked(path: Path, names: Collection[str], family: Family) -> None:
    """Check that the files of a mixture hold its experts' matrices in stacks, as merging needs.

    transformers also loads them one by one, and then saves them so.

    Args:
        path: Of the checkpoint, for the message.
        names: Of its tensors.
        family: Of the checkpoint.

    Raises:
        CheckpointError: If they do not.
    """
    own = [name for name in names if not name.startswith(family.unloaded)]
    for end in expert_names(family.towers):
        if not any(name.endswith(f".{end}") for name in own):
            raise CheckpointError(
                f"{path}: tuner.train_experts: its files hold no {end}, so the experts lie there "
                "one by one, and LoRA on them could not be merged; write them stacked: "
                "AutoModelForImageTextToText.from_pretrained(BASE, dtype='auto')"
                ".save_pretrained(STACKED, save_original_format=False), and copy BASE's other files"
            )


def expert_stacks(model: PreTrainedModel, towers: Towers) -> dict[str, nn.Parameter]:
    """Return the experts' stacks of some towers by name; none where there is no mixture."""
    ends = tuple(f".{end}" for each in towers for end in each.experts)
    found = {name: one for name, one in loose_matrices(model) if name.endswith(ends)}
    return {name: one for name, one in found.items() if not unknown_matrices([name], towers)}
