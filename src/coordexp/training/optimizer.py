"""Groups of parameters, each with its own learning rate and weight decay.

First match wins; a group that matches nothing, or a trainable parameter that matches no group, is
an error.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.model.coord_offset import ADAPTER_NAME
from coordexp.model.towers import TOWERS

COORD_EMBED = re.compile(rf"(^|\.)embed_tokens\.(.*\.)?{ADAPTER_NAME}\.")
COORD_HEAD = re.compile(rf"(^|\.)lm_head\.(.*\.)?{ADAPTER_NAME}\.")


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """One row of the optimizer's table.

    Args:
        name: `coord_embed`, `coord_head`, `vision`, `aligner` or `language`.
        pattern: Searched in a parameter's name.
        lr: Peak learning rate.
        weight_decay: Of its matrices; vectors (biases, norms, DoRA magnitudes) are not decayed.
    """

    name: str
    pattern: re.Pattern[str]
    lr: float
    weight_decay: float


def parameter_groups(config: Config) -> tuple[ParameterGroup, ...]:
    """Return the groups that a configuration asks for, in matching order."""
    training, tuner, offset = config.training, config.tuner, config.custom.coord_offset
    groups = []
    if offset.enabled:
        embed_lr = offset.embed_lr or training.learning_rate
        groups.append(ParameterGroup("coord_embed", COORD_EMBED, embed_lr, offset.weight_decay))
        if not offset.tie_head:
            head_lr = offset.head_lr or embed_lr
            groups.append(ParameterGroup("coord_head", COORD_HEAD, head_lr, offset.weight_decay))
    frozen = {
        "vision": tuner.freeze_vit,
        "aligner": tuner.freeze_aligner,
        "language": tuner.freeze_llm,
    }
    rates = {"vision": training.vit_lr, "aligner": training.aligner_lr, "language": None}
    for tower, pattern in TOWERS:
        if not frozen[tower]:
            lr = rates[tower] or training.learning_rate
            groups.append(
                ParameterGroup(tower, _beside_offsets(pattern), lr, training.weight_decay)
            )
    return tuple(groups)


def _beside_offsets(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Keep a table of offsets that has no group of its own from passing for its tower's."""
    return re.compile(rf"^(?!.*\b{ADAPTER_NAME}\.).*(?:{pattern.pattern})")


def group_parameters(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[dict[str, object]]:
    """Return torch's parameter groups of a model's trainable parameters.

    Raises:
        InputError: If a trainable parameter matches no group, or a group matches none.
    """
    matched: dict[str, list[nn.Parameter]] = {group.name: [] for group in groups}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        home = next((group for group in groups if group.pattern.search(name)), None)
        if home is None:
            raise InputError(f"optimizer: the trainable parameter {name} belongs to no group")
        matched[home.name].append(parameter)
    rows: list[dict[str, object]] = []
    for group in groups:
        members = matched[group.name]
        if not members:
            raise InputError(
                f"optimizer: the group {group.name} matches no trainable parameter; freeze that "
                "part (tuner.freeze_*), or name layers of it in tuner.target_modules"
            )
        matrices = [parameter for parameter in members if parameter.ndim > 1]
        vectors = [parameter for parameter in members if parameter.ndim <= 1]
        shared = {"lr": group.lr, "name": group.name}
        if matrices:
            rows.append({"params": matrices, "weight_decay": group.weight_decay, **shared})
        if vectors:
            rows.append({"params": vectors, "weight_decay": 0.0, **shared})
    return rows
