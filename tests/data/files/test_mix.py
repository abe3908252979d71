import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record
from coordexp.data.files.mix import Mix, MixedOrder
from coordexp.data.plan.schedule import Shuffled
from coordexp.errors import RecordError

sizes = st.lists(st.integers(0, 30), min_size=1, max_size=4)
weights = st.floats(0, 4, allow_nan=False)


def write(path: Path, count: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows = [
        {"images": [f"{number}.png"], "width": 9, "height": 9, "objects": []}
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parts_of(sizes: Sequence[int]) -> list[range]:
    return [range(100 * part, 100 * part + size) for part, size in enumerate(sizes)]


def test_an_index_counts_through_all_files(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a" / "x.jsonl", 2), write(tmp_path / "b" / "y.jsonl", 3)]
    mix = Mix.open(paths, SPEC_ALPHABET)
    assert (len(mix), mix.sizes) == (5, (2, 3))
    samples = [sample for sample in mix if isinstance(sample, Record)]
    assert [sample.image for sample in samples] == ["0.png", "1.png", "0.png", "1.png", "2.png"]
    assert samples == [mix[index] for index in range(5)] == mix[0:5]
    assert [mix.place_of(index)[1] for index in range(5)] == [1, 2, 1, 2, 3]
    assert mix.place_of(2) == (paths[1], 1)
    assert (mix.root_of(1), mix.root_of(-1)) == (tmp_path / "a", tmp_path / "b")
    assert mix.name == f"{paths[0]}, {paths[1]}"
    with pytest.raises(IndexError):
        mix[5]


def test_a_bad_line_is_named_by_its_own_file(tmp_path: Path) -> None:
    paths = [write(tmp_path / "x.jsonl", 2), write(tmp_path / "y.jsonl", 2)]
    paths[1].write_text(paths[1].read_text() + "{}\n")
    with pytest.raises(RecordError, match=r"y\.jsonl:3: images: expected"):
        Mix.open(paths, SPEC_ALPHABET)[4]


def test_weights_say_how_often_a_sample_comes() -> None:
    # 3 x 10, and 2.5 x 4 = 10: every sample twice, and two of them a third time; 0.25 x 8 = 2
    order = MixedOrder(parts_of([10, 4, 8]), [3, 2.5, 0.25], seed=7)
    drawn = Counter(order.records(0))
    assert order.count(0) == 42
    assert [drawn[index] for index in range(10)] == [3] * 10
    assert sorted(drawn[index] for index in range(100, 104)) == [2, 2, 3, 3]
    assert sorted(drawn[index] for index in range(200, 208)) == [0] * 6 + [1] * 2


@given(sizes, st.lists(weights, min_size=4, max_size=4), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_follows_from_seed_and_epoch(
    sizes: list[int], weights: list[float], seed: int, epoch: int
) -> None:
    parts = parts_of(sizes)
    order = MixedOrder(parts, weights[: len(sizes)], seed)
    records = order.records(epoch)
    assert records == MixedOrder(parts, weights[: len(sizes)], seed).records(epoch)
    assert len(records) == order.count(epoch)
    drawn = Counter(records)
    for part, weight in zip(parts, weights, strict=False):
        times = [drawn[index] for index in part]
        assert sum(times) == math.floor(weight * len(part) + 0.5)
        assert not times or max(times) - min(times) <= 1
        assert max(times, default=0) <= math.ceil(weight)


def test_each_epoch_draws_others_in_another_order() -> None:
    order = MixedOrder([range(40)], [0.5], seed=0)
    epochs = [order.records(epoch) for epoch in range(8)]
    assert len({tuple(epoch) for epoch in epochs}) == 8
    assert {index for epoch in epochs for index in epoch} == set(range(40))


def test_one_file_of_weight_one_is_shuffled_as_without_a_mix() -> None:
    assert MixedOrder([range(50)], [1], seed=3).records(2) == Shuffled(range(50), 3).records(2)
