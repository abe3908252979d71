"""LoRA and DoRA through PEFT, beside the coord-offset adapter.

Plain PEFT loads an adapter's LoRA onto a base without our wrappers and leaves the offsets out, with
no word about it. So the saved `adapter_config.json` of an adapter with offsets also asks for a
module that no base has, `load_with_coordexp`, and PEFT refuses to load it: what to do instead is
the name. The request is added after PEFT has wrapped the model and taken away before it wraps one
again, so that the model itself holds no module, no parameter and no tensor for it.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn
from transformers import PreTrainedModel

from coordexp.errors import CheckpointError, InputError
from coordexp.families.family import Family
from coordexp.families.towers import (
    Tower,
    Towers,
    expert_names,
    linear_layer_pattern,
    unknown_layers,
    unknown_matrices,
)
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    find_offset_head,
    reattach_coord_offset_hooks,
)
from coordexp.model.experts import expert_stacks, loose_matrices

# In PEFT's words: train row 0 of that module. A module that is not there is an error only here.
GUARD = {"load_with_coordexp": [0]}

_NAMED = 5


def base_model(model: nn.Module | None) -> PreTrainedModel:
    """Return the transformers model inside PEFT's wrapper, or the model itself.

    Raises:
        TypeError: If there is none.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(base, PreTrainedModel):
        raise TypeError(f"expected a transformers model, got {type(base).__name__}")
    return base


def lora_target_pattern(
    names: Towers, towers: Collection[Tower], leaves: Collection[str] | None
) -> str:
    """Return the regular expression of the modules that get LoRA.

    PEFT's own `all-linear` would take the wrapped head too, and non-coord logits would move.

    Args:
        names: Of the model's family.
        towers: The parts of the model that are adapted.
        leaves: Last names to keep, such as `q_proj`; None for every linear layer.

    Raises:
        InputError: If a leaf name occurs in none of the towers, or no tower is left.
    """
    if not towers:
        raise InputError(
            "tuner: every part is frozen; leave at least one of vision, aligner, language"
        )
    chosen = tuple(each for each in names if each.tower in towers)
    known = {leaf for each in chosen for leaf in each.leaves}
    if unknown := sorted(set(leaves or ()) - known):
        raise InputError(
            f"tuner.target_modules: {', '.join(unknown)} name no linear layer of the unfrozen "
            f"parts; known: {', '.join(sorted(known))}"
        )
    return linear_layer_pattern(chosen, leaves)


def adapter_targets(
    names: Towers,
    towers: Collection[Tower],
    leaves: Collection[str] | None,
    *,
    has_offsets: bool,
) -> str:
    """Return what an adapter's configuration says of the modules that get LoRA.

    With every tower frozen the coord offsets alone learn. They are saved by PEFT too, in an adapter
    without a layer, for which PEFT has a word of its own: a pattern that matches nothing is an
    error there.

    Args:
        names: Of the model's family.
        towers: The parts of the model that are adapted.
        leaves: Last names to keep; None for every linear layer.
        has_offsets: Whether the model has the coord-offset adapter.

    Raises:
        InputError: See `lora_target_pattern`; and if leaves are named where every part is frozen.
    """
    if towers or not has_offsets:
        return lora_target_pattern(names, towers, leaves)
    if leaves is not None:
        raise InputError(
            f"tuner.target_modules: {', '.join(leaves)} name layers of frozen parts, as every part "
            "is frozen; write all-linear, or leave one of vision, aligner, language"
        )
    return DUMMY_TARGET_MODULES


def install_lora(
    model: PreTrainedModel,
    *,
    family: Family,
    towers: Collection[Tower],
    leaves: Collection[str] | None,
    experts: bool,
    rank: int,
    alpha: int,
    dropout: float,
    use_dora: bool,
) -> PeftModel:
    """Return the model wrapped by PEFT, its coord offsets registered for saving.

    Args:
        model: With its offsets installed, where it gets any.
        family: Of the model.
        towers: The parts of the model that are adapted.
        leaves: Last names of linear layers to keep; None for every one.
        experts: Whether the experts of a mixture get LoRA too, which DoRA and dropout rule out.
        rank: Of the adapters; each expert's matrix has one of its own.
        alpha: Scale, divided by the rank.
        dropout: Share of inputs that an adapter does not see.
        use_dora: Whether adapters learn a magnitude.

    Raises:
        InputError: See `adapter_targets` and `check_places`; or if experts are asked for and there
            are none.
        CheckpointError: See `check_places`.
    """
    check_places(model, family, towers, leaves)
    chosen = tuple(each for each in family.towers if each.tower in towers)
    if experts and not expert_stacks(model, chosen):
        raise InputError(
            f"tuner.train_experts: this model of {family.name} has no experts in the parts that "
            "are not frozen; leave it out"
        )
    has_offsets = find_offset_head(model) is not None
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        use_dora=use_dora,
        target_modules=adapter_targets(family.towers, towers, leaves, has_offsets=has_offsets),
        target_parameters=sorted(expert_names(chosen)) if experts else None,
        modules_to_save=[ADAPTER_NAME] if has_offsets else None,
    )
    adapted: PeftModel = get_peft_model(model, config)
    if has_offsets:
        guard_adapter(adapted)
        reattach_coord_offset_hooks(adapted)
    return adapted


def check_places(
    model: PreTrainedModel,
    family: Family,
    towers: Collection[Tower],
    leaves: Collection[str] | None,
) -> None:
    """Check that LoRA goes to all that it is asked for, and that nothing is left out in silence.

    Raises:
        InputError: If the model has no layer of a name.
        CheckpointError: If all layers are asked for, and the family does not know one.
    """
    if leaves is not None:
        check_leaves(model, tuple(each for each in family.towers if each.tower in towers), leaves)
    elif towers:
        check_layers(model, family)


def check_layers(model: PreTrainedModel, family: Family) -> None:
    """Check that the family knows every linear layer, and every matrix that is outside of them.

    So "all" leaves none out in silence. The head is no part of it: it belongs to the vocabulary.

    Raises:
        CheckpointError: If there are others; it names them.
    """
    if unknown := unknown_layers(linear_layers(model), family.towers):
        raise CheckpointError(
            f"the model has {len(unknown)} linear layers that its family {family.name} does not "
            f"know, and that LoRA on all-linear would leave out: {_few(unknown)}; name the layers "
            "to adapt in tuner.target_modules, or add these to the family"
        )
    loose = [name for name, _ in loose_matrices(model)]
    if unknown := unknown_matrices(loose, family.towers):
        raise CheckpointError(
            f"the model has {len(unknown)} matrices that are no linear layers, that its family "
            f"{family.name} does not know, and that LoRA on all-linear would leave out: "
            f"{_few(unknown)}; name the layers to adapt in tuner.target_modules, or add these to "
            "the family"
        )


def check_leaves(model: PreTrainedModel, towers: Towers, leaves: Collection[str]) -> None:
    """Check that the model has a linear layer for each last name, for PEFT asks only for one.

    Names that the towers do not know at all are left to `lora_target_pattern`.

    Raises:
        InputError: If it has none for some of them, as in a mixture, whose MLPs are experts.
    """
    layers = linear_layers(model)
    known = {leaf for each in towers for leaf in each.leaves}
    lost = [
        leaf
        for leaf in sorted(known & set(leaves))
        if not any(re.fullmatch(linear_layer_pattern(towers, [leaf]), name) for name in layers)
    ]
    if not lost:
        return
    hint = "; its experts are no linear layers, tuner.train_experts: true adapts them"
    raise InputError(
        f"tuner.target_modules: {', '.join(lost)} name no linear layer that this model has in its "
        f"unfrozen parts{hint if expert_stacks(model, towers) else ''}"
    )


def linear_layers(model: PreTrainedModel) -> list[str]:
    """Return the names of a model's linear layers below the head."""
    head = set(model.get_output_embeddings().modules())
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module not in head
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def guard_adapter(model: PeftModel) -> None:
    """Make plain PEFT refuse what `model.save_pretrained` writes from now on."""
    for config in cast(dict[str, LoraConfig], model.peft_config).values():
        config.trainable_token_indices = dict(GUARD)


def restore_lora(model: PreTrainedModel, path: Path, *, trainable: bool) -> PeftModel:
    """Return the model with the adapter of a directory on it, guarded as it was saved.

    Args:
        model: With the coord-offset adapter installed where the adapter has offsets.
        path: Holds `adapter_config.json` and the weights.
        trainable: Whether to go on training it.
    """
    restored: PeftModel = PeftModel.from_pretrained(
        model, str(path), config=load_lora_config(path), is_trainable=trainable
    )
    if find_offset_head(model) is not None:
        guard_adapter(restored)
    return restored


def load_lora_config(path: Path) -> LoraConfig:
    """Return the configuration of a saved adapter, without the guard."""
    config: LoraConfig = LoraConfig.from_pretrained(str(path))
    if config.trainable_token_indices == GUARD:
        config.trainable_token_indices = None
    return config
