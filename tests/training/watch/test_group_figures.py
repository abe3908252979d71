import pytest
import torch
from torch import nn

from coordexp.training.watch.group_figures import clip_factor, group_figures, to_floats


def parameter(values: list[list[float]], gradient: list[list[float]] | None) -> nn.Parameter:
    made = nn.Parameter(torch.tensor(values))
    made.grad = None if gradient is None else torch.tensor(gradient)
    return made


TABLE = parameter([[3.0, 4.0], [0.0, 0.0]], [[0.0, 1.0], [2.0, 2.0]])
MATRIX = parameter([[1.0]], [[4.0]])
VECTOR = parameter([[1.0]], [[3.0]])
GROUPS = [
    {"name": "coord_embed", "lr": 0.5, "params": [TABLE]},
    {"name": "language", "lr": 0.25, "params": [MATRIX]},
    {"name": "language", "lr": 0.25, "params": [VECTOR, parameter([[9.0]], None)]},
]


def test_each_group_has_its_rate_and_its_norm() -> None:
    assert to_floats(group_figures(GROUPS, clipped_by=1.0)) == pytest.approx(
        {
            "lr/coord_embed": 0.5,
            "grad_norm/coord_embed": 3.0,  # 1 + 4 + 4
            "offset_norm/coord_embed": 2.5,  # rows of length 5 and 0
            "lr/language": 0.25,
            "grad_norm/language": 5.0,  # 16 + 9
        }
    )


def test_norms_are_those_before_clipping() -> None:
    parameters = [TABLE, MATRIX, VECTOR]
    before = [one.grad.clone() for one in parameters if one.grad is not None]
    norm = nn.utils.clip_grad_norm_(parameters, 0.5)
    figures = to_floats(group_figures(GROUPS, clipped_by=clip_factor(norm, 0.5)))
    assert figures["grad_norm/coord_embed"] == pytest.approx(3.0)
    assert figures["grad_norm/language"] == pytest.approx(5.0)
    for one, gradient in zip(parameters, before, strict=True):
        one.grad = gradient


def test_a_group_without_gradients_has_no_norm() -> None:
    bare = [{"name": "vision", "lr": 0.1, "params": [parameter([[1.0]], None)]}]
    assert to_floats(group_figures(bare, clipped_by=1.0)) == {"lr/vision": 0.1}
