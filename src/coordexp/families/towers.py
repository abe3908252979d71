"""The parts of a model, by the names of its parameters and layers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Tower = Literal["vision", "aligner", "language"]

TOWERS: tuple[Tower, ...] = get_args(Tower)


@dataclass(frozen=True, slots=True)
class TowerNames:
    """How a family calls what belongs to one tower.

    Args:
        tower: `vision`, `aligner` (from vision to language) or `language`.
        parameters: Searched in a parameter's name, with and without PEFT's prefixes.
        place: Regular expression of all of a linear layer's name before its last part.
        leaves: Last names of its linear layers.
        experts: How the names of its stacks of matrices end, one matrix for each expert of a
            mixture. They are parameters and no linear layers.
        routers: How the names of the matrices end that choose among experts.
    """

    tower: Tower
    parameters: re.Pattern[str]
    place: str
    leaves: tuple[str, ...]
    experts: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()


# First match wins, so a tower whose names lie inside another's comes before it.
Towers = tuple[TowerNames, ...]


def tower_of(name: str, towers: Towers) -> Tower | None:
    """Return the tower that a parameter belongs to, None outside all of them.

    Example:
        >>> vision = TowerNames("vision", re.compile("visual[.]"), "visual[.]", ("qkv",))
        >>> tower_of("model.visual.qkv.weight", (vision,))
        'vision'
    """
    return next((each.tower for each in towers if each.parameters.search(name)), None)


def linear_layer_pattern(towers: Towers, leaves: Iterable[str] | None) -> str:
    """Return the regular expression of the linear layers of some towers.

    The order is that of `TOWERS`, whatever the family's: adapters are saved with this text, and
    compared by it when one is gone on with.

    Args:
        towers: The chosen ones.
        leaves: Last names to keep; None for every linear layer.
    """
    wanted = None if leaves is None else set(leaves)
    patterns = []
    for each in sorted(towers, key=lambda names: TOWERS.index(names.tower)):
        kept = [name for name in each.leaves if wanted is None or name in wanted]
        if kept:
            patterns.append(f"{each.place}(?:{'|'.join(kept)})")
    return "|".join(patterns)


def unknown_layers(names: Iterable[str], towers: Towers) -> Sequence[str]:
    """Return which of a model's linear layers no tower names, in their order."""
    known = re.compile(linear_layer_pattern(towers, None))
    return [name for name in names if not known.fullmatch(name)]


def expert_names(towers: Towers) -> tuple[str, ...]:
    """Return how the names of the experts' stacks end, in all of some towers."""
    return tuple(name for each in towers for name in each.experts)


def unknown_matrices(names: Iterable[str], towers: Towers) -> Sequence[str]:
    """Return which of a model's matrices outside linear layers are no tower's experts or router."""
    known = [
        re.compile(each.place + re.escape(end))
        for each in towers
        for end in (*each.experts, *each.routers)
    ]
    return [name for name in names if not any(pattern.fullmatch(name) for pattern in known)]
