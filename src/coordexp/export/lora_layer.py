"""One layer's LoRA or DoRA, merged by PEFT itself on a model that has no other layer.

The arithmetic of LoRA's variants is PEFT's and stays there. What is ours is the size: the layer is
taken in blocks of output rows, so that what PEFT computes beside the weight, in float32, stays
small however large the layer is. A row of the product `B A`, and DoRA's norm of a row, need no
other row, so that the blocks are the whole::

    W [rows] -> Linear(in, rows), lora_A [r, in], lora_B [rows, r], magnitude [rows] -> merged rows

A mixture's experts are a stack of matrices, and the adapter of a stack is that of each matrix, side
by side: expert by expert they are merged as layers are::

    W [E, rows, in], lora_A [E * r, in], lora_B [rows, r * E]
    -> of expert e: W [e], lora_A [e * r : (e + 1) * r], lora_B [:, e, e + E, ...]
"""

import copy
from collections.abc import Mapping
from typing import cast

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.lora import Linear
from torch import Tensor, nn

from coordexp.errors import CheckpointError
from coordexp.model.shards import StoredTensor

BLOCK_BYTES = 1 << 24
"""Of the float32 rows that PEFT gets at once."""

_BY_ROW = ("lora_B.weight", "lora_magnitude_vector")


def merge_lora_layer(
    name: str,
    weight: Tensor,
    adapter: Mapping[str, StoredTensor],
    config: LoraConfig,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> Tensor:
    """Merge an adapter into a layer's weight, in float32, and round once to the weight's dtype.

    Args:
        name: Of the layer in the model; PEFT's patterns of ranks and scales go by it.
        weight: Of a linear layer, output rows first; changed in place and returned.
        adapter: Its tensors by PEFT's last names.
        config: Of the adapter.
        block_bytes: See `BLOCK_BYTES`.

    Raises:
        CheckpointError: If the tensors are not those that PEFT expects for this layer, or the
            result is not finite.
    """
    tensors = {leaf: tensor.load().float() for leaf, tensor in adapter.items()}
    _merge_matrix(name, weight, tensors, config, block_bytes=block_bytes)
    return weight


def merge_expert_stack(
    name: str,
    weight: Tensor,
    adapter: Mapping[str, StoredTensor],
    config: LoraConfig,
    *,
    is_turned: bool,
) -> Tensor:
    """Merge an adapter into a stack of matrices, one for each expert, as `merge_lora_layer` does.

    Args:
        name: Of the parameter in the model.
        weight: Of all experts; changed in place and returned.
        adapter: Its tensors by PEFT's last names.
        config: Of the adapter.
        is_turned: Whether the matrices have their input columns first.

    Raises:
        CheckpointError: As `merge_lora_layer` does, or if the adapter is not one of plain LoRA with
            a part for each expert.
    """
    if adapter.keys() != {"lora_A.weight", "lora_B.weight"}:
        raise CheckpointError(f"{name}: expected LoRA of experts, got {sorted(adapter)}")
    down, up = (adapter[leaf].load().float() for leaf in ("lora_A.weight", "lora_B.weight"))
    experts = len(weight)
    if len(down) % experts or len(down) != up.shape[1]:
        raise CheckpointError(
            f"{name}: {experts} experts, and an adapter of {len(down)} and {up.shape[1]} ranks"
        )
    downs, ups = down.unflatten(0, (experts, -1)), up.unflatten(1, (-1, experts))
    for expert, matrix in enumerate(weight):
        one = {"lora_A.weight": downs[expert], "lora_B.weight": ups[..., expert]}
        rows_first = matrix.T if is_turned else matrix
        _merge_matrix(name, rows_first, one, config, block_bytes=BLOCK_BYTES)
    return weight


def _merge_matrix(
    name: str,
    weight: Tensor,
    tensors: Mapping[str, Tensor],
    config: LoraConfig,
    *,
    block_bytes: int,
) -> None:
    rows, width = weight.shape
    step = max(block_bytes // (4 * width), 1)
    for first in range(0, rows, step):
        part = slice(first, min(first + step, rows))
        saved = {
            leaf: tensor[part] if leaf in _BY_ROW else tensor for leaf, tensor in tensors.items()
        }
        weight[part] = _merged_by_peft(name, weight[part].float(), saved, config).to(weight.dtype)


@torch.no_grad()
def _merged_by_peft(
    name: str, rows: Tensor, saved: Mapping[str, Tensor], config: LoraConfig
) -> Tensor:
    with torch.device("meta"):
        linear = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
    linear.weight = nn.Parameter(rows, requires_grad=False)
    model = _holding(name, linear)
    try:
        inject_adapter_in_model(_for_one_layer(config, name), model)
        found = set_peft_model_state_dict(
            model, {f"{name}.{leaf}": tensor for leaf, tensor in saved.items()}
        )
        missing, unexpected = cast(tuple[list[str], list[str]], found)
        if lost := [key for key in (*missing, *unexpected) if "lora_" in key]:
            raise CheckpointError(f"{name}: PEFT expects other adapter tensors; {lost[0]} first")
        layer = cast(Linear, model.get_submodule(name))
        layer.merge(safe_merge=True)  # refuses what is not finite
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{name}: PEFT cannot merge its adapter: {error}") from None
    return cast(nn.Linear, layer.get_base_layer()).weight.data


def _holding(name: str, leaf: nn.Module) -> nn.Module:
    """Return a model in which `leaf` has the given dotted name, and nothing else is."""
    module = leaf
    for part in reversed(name.split(".")):
        parent = nn.Module()
        parent.add_module(part, module)
        module = parent
    return module


def _for_one_layer(config: LoraConfig, name: str) -> LoraConfig:
    """Return the configuration for a model of one layer, about to get its saved tensors."""
    narrowed = copy.copy(config)
    narrowed.target_modules = [name]
    narrowed.target_parameters = None
    narrowed.exclude_modules = None
    narrowed.layers_to_transform = None
    narrowed.layers_pattern = None
    narrowed.modules_to_save = None
    narrowed.trainable_token_indices = None
    narrowed.init_lora_weights = True  # others, such as PiSSA, would change the base's weight
    return narrowed
