import torch
from torch import Tensor

from coordexp.inference.decode.ragged_cache import RaggedCache


def states(columns: list[list[float]]) -> torch.Tensor:
    """Return keys of one head and width 1, one number a token."""
    return torch.tensor(columns)[:, None, :, None]


def cache_of(places: Tensor) -> RaggedCache:
    """Return a cache of one layer, whose rows keep the whole first pass."""
    stops = [[places.shape[1]] for _ in places]
    return RaggedCache(1, (), places, stops=stops)


def move(cache: RaggedCache, places: Tensor, *, stop: int) -> None:
    starts = places[:, 0].tolist()
    cache.columns.move(places, stop=stop, starts=starts, stops=[(places.shape[1],) for _ in starts])


def shown(keys: torch.Tensor) -> list[list[float]]:
    rows: list[list[float]] = keys[:, 0, :, 0].tolist()
    return rows


def test_rows_grow_at_their_own_pace() -> None:
    cache = cache_of(torch.arange(3).expand(2, -1))
    first = states([[1, 2, 3], [11, 12, 0]])  # the second row is one token shorter
    keys, values = cache.update(first, first, 0)
    assert shown(keys) == [[1, 2, 3], [11, 12, 0]]
    # The first row appends two tokens; the second one token, over its padding.
    move(cache, torch.tensor([[3, 4], [2, 3]]), stop=5)
    second = states([[4, 5], [13, 99]])
    keys, values = cache.update(second, second, 0)
    assert shown(keys) == [[1, 2, 3, 4, 5], [11, 12, 13, 99, 0]]
    assert torch.equal(keys, values)
    # 99 was a wrong guess: the row goes on at its place.
    move(cache, torch.tensor([[5], [3]]), stop=6)
    third = states([[6], [14]])
    keys, _ = cache.update(third, third, 0)
    assert shown(keys) == [[1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 0, 0]]


def test_a_token_sees_what_stands_before_it_in_its_row() -> None:
    cache = cache_of(torch.arange(3).expand(2, -1))
    move(cache, torch.tensor([[3, 4], [1, 2]]), stop=5)
    mask = cache.mask()
    assert mask.shape == (2, 1, 2, 5)
    assert mask[:, 0].int().tolist() == [
        [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
        [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]],
    ]


def test_rows_are_forgotten_and_room_is_made() -> None:
    cache = cache_of(torch.arange(2).expand(3, -1))
    first = states([[1, 2], [3, 4], [5, 6]])
    cache.update(first, first, 0)
    cache.keep([0, 2])
    move(cache, torch.arange(2, 1002).expand(2, -1), stop=1002)
    more = states([[7.0] * 1000, [8.0] * 1000])
    keys, _ = cache.update(more, more, 0)
    assert shown(keys)[0] == [1, 2] + [7] * 1000
    assert shown(keys)[1] == [5, 6] + [8] * 1000
    assert cache.get_seq_length() == 2
    assert cache.get_mask_sizes(1000, 0) == (1002, 0)
