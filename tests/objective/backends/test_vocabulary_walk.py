import pytest
import torch
from torch import Tensor

from coordexp.objective.backends.vocabulary_walk import (
    Head,
    Softmax,
    vocabulary_blocks,
    walk_head_gradient,
    walk_vocabulary,
)

WEIGHT = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGETS = torch.tensor([0, 9, 9, 13, 49])


@pytest.mark.parametrize("coord_ids", [(), (0, 1), (48, 49), (17, 18, 19), (3, 1, 40)], ids=str)
@pytest.mark.parametrize("width", [1, 7, 50, 64])
def test_blocks_cover_everything_but_the_coord_ids_once(
    coord_ids: tuple[int, ...], width: int
) -> None:
    seen = []
    for block in vocabulary_blocks(50, torch.tensor(coord_ids, dtype=torch.int64), width):
        masked = [] if block.coord is None else (block.coord + block.start).tolist()
        seen += [v for v in range(block.start, block.stop) if v not in masked]
    assert seen == [v for v in range(50) if v not in coord_ids]


def outer_logits() -> Tensor:
    logits = X @ WEIGHT.T
    logits[:, 20:30] = -torch.inf
    return logits


@pytest.mark.parametrize("height", [2, 4, 16])
@pytest.mark.parametrize("width", [3, 10, 64])
def test_a_walk_is_a_softmax_outside_the_coord_vocabulary(height: int, width: int) -> None:
    head = Head(WEIGHT, vocabulary_blocks(50, torch.arange(20, 30), width), torch.float64)
    mean = torch.empty_like(X)
    walk = walk_vocabulary(X, TARGETS, head, height=height, mean=mean, sum_dtype=torch.float64)
    logits = outer_logits()
    torch.testing.assert_close(walk.lse, logits.logsumexp(-1))
    torch.testing.assert_close(walk.top, logits.amax(-1))
    torch.testing.assert_close(walk.target, logits[range(5), TARGETS])
    torch.testing.assert_close(mean, logits.softmax(-1) @ WEIGHT)


@pytest.mark.parametrize("height", [2, 16])
def test_the_second_walk_is_the_gradient_of_the_head(height: int) -> None:
    head = Head(WEIGHT, vocabulary_blocks(50, torch.arange(20, 30), 7), torch.float64)
    shift = torch.linspace(1, 3, 9, dtype=torch.float64)
    gradient = torch.full_like(WEIGHT, 7.0)
    walk_head_gradient(X, shift, TARGETS, -0.5, head, height=height, out=gradient)
    slope = (outer_logits() - shift[:, None]).exp()
    slope[range(5), TARGETS] -= 0.5
    expected = slope.T @ X
    expected[20:30] = 7.0
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("slack", [0.0, 16.0])
def test_the_running_softmax_survives_any_order_of_logits(slack: float) -> None:
    for values in ([-500.0, 0.0, 500.0], [500.0, 0.0, -500.0], [1.0, 10.0, 20.0, 30.0]):
        mean = torch.empty(1, 1)
        softmax = Softmax(torch.empty(1), mean, slack=slack)
        for value in values:
            softmax.add(slice(0, 1), torch.tensor([[value]]), torch.tensor([[value]]))
        exact = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(softmax.lse(), exact.logsumexp(-1, keepdim=True).float())
        softmax.finish_mean()
        torch.testing.assert_close(mean[0, 0], (exact.softmax(-1) @ exact).float())
