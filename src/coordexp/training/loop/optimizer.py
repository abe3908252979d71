"""Groups of parameters, each with its own learning rate and weight decay.

First match wins; a group that matches nothing, or a trainable parameter that matches no group, is
an error.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.families.family import Family
from coordexp.files import write_text
from coordexp.model.coord_offset import ADAPTER_NAME

TABLE_NAME = "optimizer_groups.json"
TABLE_HEAD = ("group", "rate", "decay", "tensors", "parameters")


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """A part of the model with its own rate.

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


@dataclass(frozen=True, slots=True)
class OptimizerRow:
    """One row of the resolved table.

    Args:
        group: Name of the `ParameterGroup`.
        lr: Peak learning rate.
        weight_decay: Of these parameters.
        tensors: How many there are.
        parameters: How many numbers they hold.
    """

    group: str
    lr: float
    weight_decay: float
    tensors: int
    parameters: int


def parameter_groups(config: Config, family: Family) -> tuple[ParameterGroup, ...]:
    """Return the groups that a configuration asks of a family's model, in matching order."""
    training, tuner, offset = config.training, config.tuner, config.custom.coord_offset
    groups = []
    if offset.enabled:
        embed_lr = offset.embed_lr or training.learning_rate
        table = _offsets_of(family.vocabulary.embedding)
        groups.append(ParameterGroup("coord_embed", table, embed_lr, offset.weight_decay))
        if not offset.tie_head:
            head_lr = offset.head_lr or embed_lr
            table = _offsets_of(family.vocabulary.head)
            groups.append(ParameterGroup("coord_head", table, head_lr, offset.weight_decay))
    frozen = {
        "vision": tuner.freeze_vit,
        "aligner": tuner.freeze_aligner,
        "language": tuner.freeze_llm,
    }
    rates = {"vision": training.vit_lr, "aligner": training.aligner_lr, "language": None}
    for each in family.towers:
        if not frozen[each.tower]:
            lr = rates[each.tower] or training.learning_rate
            pattern = _beside_offsets(each.parameters)
            groups.append(ParameterGroup(each.tower, pattern, lr, training.weight_decay))
    return tuple(groups)


def _offsets_of(module: str) -> re.Pattern[str]:
    """Return what finds the table of offsets of a vocabulary module."""
    return re.compile(rf"(^|\.){re.escape(module)}\.(.*\.)?{ADAPTER_NAME}\.")


def _beside_offsets(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Keep a table of offsets that has no group of its own from passing for its tower's."""
    return re.compile(rf"^(?!.*\b{ADAPTER_NAME}\.).*(?:{pattern.pattern})")


def ignored_rates(config: Config) -> tuple[str, ...]:
    """Return what to say of rates that are set and have nothing to drive."""
    training, tuner, offset = config.training, config.tuner, config.custom.coord_offset
    notes = {
        "custom.coord_offset.head_lr is ignored: with tie_head: true one table serves embedding "
        "and head, and embed_lr is its rate": offset.tie_head and offset.head_lr is not None,
        "training.vit_lr is ignored: tuner.freeze_vit is true": tuner.freeze_vit
        and training.vit_lr is not None,
        "training.aligner_lr is ignored: tuner.freeze_aligner is true": tuner.freeze_aligner
        and training.aligner_lr is not None,
    }
    return tuple(note for note, holds in notes.items() if holds)


def group_parameters(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[dict[str, object]]:
    """Return torch's parameter groups of a model's trainable parameters.

    Raises:
        InputError: If a trainable parameter matches no group, or a group matches none.
    """
    return [
        {
            "params": row.members,
            "lr": row.lr,
            "weight_decay": row.weight_decay,
            "name": row.name,
        }
        for row in _rows(model, groups)
    ]


def build_optimizer(
    arguments: TrainingArguments, model: nn.Module | None, groups: Sequence[ParameterGroup]
) -> torch.optim.Optimizer:
    """Return AdamW over the groups.

    Args:
        arguments: Say its betas, and which kind of AdamW.
        model: What learns.
        groups: Its parts, with their rates.

    Raises:
        InputError: As `group_parameters` does.
        TypeError: If there is no model.
    """
    if model is None:
        raise TypeError("there is no model to optimize")
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    optimizer: torch.optim.Optimizer = kind(group_parameters(model, groups), **settings)
    return optimizer


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    lr: float
    weight_decay: float
    members: list[nn.Parameter]


def _rows(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[_Row]:
    matched: dict[str, list[nn.Parameter]] = {group.name: [] for group in groups}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        home = next((group for group in groups if group.pattern.search(name)), None)
        if home is None:
            raise InputError(f"optimizer: the trainable parameter {name} belongs to no group")
        matched[home.name].append(parameter)
    rows = []
    for group in groups:
        members = matched[group.name]
        if not members:
            raise InputError(
                f"optimizer: the group {group.name} matches no trainable parameter; freeze that "
                "part (tuner.freeze_*), or name layers of it in tuner.target_modules"
            )
        matrices = [parameter for parameter in members if parameter.ndim > 1]
        vectors = [parameter for parameter in members if parameter.ndim <= 1]
        if matrices:
            rows.append(_Row(group.name, group.lr, group.weight_decay, matrices))
        if vectors:
            rows.append(_Row(group.name, group.lr, 0.0, vectors))
    return rows


def optimizer_table(model: nn.Module, groups: Sequence[ParameterGroup]) -> list[OptimizerRow]:
    """Return what the optimizer of a model is made of, in the order of its groups.

    Raises:
        InputError: As `group_parameters` does.
    """
    return [
        OptimizerRow(
            group=row.name,
            lr=row.lr,
            weight_decay=row.weight_decay,
            tensors=len(row.members),
            parameters=sum(parameter.numel() for parameter in row.members),
        )
        for row in _rows(model, groups)
    ]


def table_cells(rows: Sequence[OptimizerRow]) -> list[tuple[str, ...]]:
    """Return a line for each group: its matrices and its vectors, which are not decayed, together.

    Example:
        >>> matrices = OptimizerRow("vision", 1e-4, 0.1, 2, 64)
        >>> table_cells([matrices, OptimizerRow("vision", 1e-4, 0.0, 1, 8)])
        [('vision', '0.0001', '0.1, vectors 0', '3', '72')]
    """
    groups: dict[str, list[OptimizerRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return [
        (
            name,
            f"{members[0].lr:g}",
            ", vectors ".join(dict.fromkeys(f"{row.weight_decay:g}" for row in members)),
            f"{sum(row.tensors for row in members):,}",
            f"{sum(row.parameters for row in members):,}",
        )
        for name, members in groups.items()
    ]


def table_text(rows: Sequence[OptimizerRow]) -> str:
    """Return the table for people."""
    lines = [TABLE_HEAD, *table_cells(rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def write_table(rows: Sequence[OptimizerRow], directory: Path) -> None:
    """Write the table for programs, `optimizer_groups.json`."""
    text = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
    write_text(directory / TABLE_NAME, text)
