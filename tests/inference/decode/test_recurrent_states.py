"""A row goes on from the choice that it came to, whatever was read behind it."""

import pytest
import torch
from torch import Tensor, nn

from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.recurrent_layers import install_recurrent_layers
from coordexp.inference.decode.ragged_cache import RaggedCache
from tests.families.tiny_recurrent import random_qwen3_5, small_qwen3_5_config

ROWS, WIDTH = 3, 48


@pytest.fixture(scope="module")
def layer() -> nn.Module:
    """The first of a model's layers."""
    model = random_qwen3_5(small_qwen3_5_config(rows=96, tied=True)).eval()
    install_recurrent_layers(model, QWEN3_5.recurrent)
    found: nn.Module = model.model.language_model.layers[0].linear_attn
    return found


def tokens(length: int, seed: int) -> Tensor:
    return torch.randn(ROWS, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def cache_of(length: int, stops: list[list[int]]) -> RaggedCache:
    return RaggedCache(1, [0], torch.arange(length).expand(ROWS, -1), stops=stops)


def move(cache: RaggedCache, starts: list[int], stops: list[tuple[int, ...]], length: int) -> None:
    places = torch.tensor(starts)[:, None] + torch.arange(length)
    cache.columns.move(places, stop=max(starts) + length, starts=starts, stops=stops)


@torch.no_grad()
def test_rows_go_on_from_different_choices(layer: nn.Module) -> None:
    """One row keeps all, one drops the last guess, one both; then each reads another length."""
    first, second = tokens(9, 0), tokens(4, 1)
    cache = cache_of(9, [[5, 7, 9], [5, 7, 9], [4, 6, 8]])
    begun = layer(first, cache_params=cache)
    kept, read = [9, 7, 4], [4, 1, 2]
    move(cache, kept, [(2, 4), (1,), (2,)], 4)
    gone_on = layer(second, cache_params=cache)
    for row in range(ROWS):
        alone = layer(
            torch.cat([first[row : row + 1, : kept[row]], second[row : row + 1, : read[row]]], 1)
        )[0]
        torch.testing.assert_close(begun[row, : kept[row]], alone[: kept[row]])
        torch.testing.assert_close(gone_on[row, : read[row]], alone[kept[row] :])
        assert not gone_on[row, read[row] :].any()


@torch.no_grad()
def test_rows_that_are_done_are_not_read_and_may_be_forgotten(layer: nn.Module) -> None:
    first, second, third = tokens(3, 0), tokens(2, 1), tokens(1, 2)
    cache = cache_of(3, [[3]] * ROWS)
    layer(first, cache_params=cache)
    move(cache, [3, 3, 3], [(1, 2), (), (2,)], 2)
    assert not layer(second, cache_params=cache)[1].any()
    cache.keep([0, 2])
    places = torch.tensor([[4], [5]])
    cache.columns.move(places, stop=6, starts=[4, 5], stops=[(1,), (1,)])
    found = layer(third[[0, 2]], cache_params=cache)
    for place, (row, length) in enumerate([(0, 1), (2, 2)]):
        whole = torch.cat([first[row], second[row, :length], third[row]])[None]
        torch.testing.assert_close(found[place, 0], layer(whole)[0, -1])


@torch.no_grad()
def test_a_place_that_was_no_choice_is_no_place_to_go_on_from(layer: nn.Module) -> None:
    cache = cache_of(3, [[3]] * ROWS)
    layer(tokens(3, 0), cache_params=cache)
    move(cache, [2, 3, 3], [(1,)] * ROWS, 1)
    with pytest.raises(KeyError):
        layer(tokens(1, 1), cache_params=cache)
