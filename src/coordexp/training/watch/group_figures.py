"""What each group of the optimizer does: its rate, its gradient, how large the offsets are.

| key | meaning |
|---|---|
| `lr/<group>` | the rate that the step was taken with |
| `grad_norm/<group>` | the gradient's length before clipping |
| `offset_norm/<group>` | mean length of a row of offsets |

Computed for the steps that are logged, from what the optimizer holds; nothing is read from the
device until the log is. Under DeepSpeed gradients and offsets lie in its own flat buffers, and
the norms are missing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

OFFSET_GROUPS = ("coord_embed", "coord_head")


def group_figures(
    groups: Sequence[Mapping[str, Any]], *, clipped_by: Tensor | float
) -> dict[str, Tensor | float]:
    """Return the figures of a step, some of them still on the device.

    Args:
        groups: The optimizer's, with names; several may share one.
        clipped_by: What the gradients have been multiplied by.
    """
    figures: dict[str, Tensor | float] = {}
    for name in dict.fromkeys(group["name"] for group in groups):
        alike = [group for group in groups if group["name"] == name]
        figures[f"lr/{name}"] = float(alike[0]["lr"])
        members: list[Tensor] = [member for group in alike for member in group["params"]]
        gradients = [member.grad for member in members if member.grad is not None]
        if gradients:
            figures[f"grad_norm/{name}"] = total_norm(gradients) / clipped_by
        tables = [member.detach().float() for member in members if member.ndim > 1]
        if name in OFFSET_GROUPS and tables:
            rows = torch.cat([whole(torch.linalg.vector_norm(table, dim=-1)) for table in tables])
            figures[f"offset_norm/{name}"] = rows.mean()
    return figures


def clip_factor(norm: Tensor | float, longest: float) -> Tensor | float:
    """Return what torch multiplies gradients of this norm by, to bring them down to the longest.

    Example:
        >>> clip_factor(4.0, 1.0), clip_factor(0.5, 1.0), clip_factor(4.0, 0.0)
        (0.24999993750001562, 1.0, 1.0)
    """
    if not longest:
        return 1.0
    if isinstance(norm, Tensor):
        return (longest / (whole(norm) + 1e-6)).clamp_max(1.0)
    return min(longest / (norm + 1e-6), 1.0)


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the length of all gradients together, whole or sharded."""
    sharded = [gradient for gradient in gradients if isinstance(gradient, DTensor)]
    plain = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    norms = [whole(get_total_norm(kind)).float() for kind in (plain, sharded) if kind]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


def to_floats(figures: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Return the figures, read from the device at once."""
    tensors = {name: value for name, value in figures.items() if isinstance(value, Tensor)}
    floats = {name: value for name, value in figures.items() if isinstance(value, float)}
    if tensors:
        values = torch.stack(list(tensors.values())).tolist()
        floats |= dict(zip(tensors, values, strict=True))
    return {name: floats[name] for name in figures}


def whole(value: Tensor) -> Tensor:
    """Return a number that may be spread over the ranks."""
    return value.full_tensor() if isinstance(value, DTensor) else value
