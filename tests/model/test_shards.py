import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from coordexp.errors import CheckpointError
from coordexp.model.shard_writing import NewTensor, split_by_size, write_weights
from coordexp.model.shards import INDEX_FILE, SINGLE_FILE, load_weights


def new(name: str, tensor: Tensor) -> NewTensor:
    return NewTensor(name, tensor.dtype, tuple(tensor.shape), lambda: tensor)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "odd": torch.randn(3, generator=generator).bfloat16(),
        "wide": torch.randn(5, 4, generator=generator),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 4),
        "flag": torch.tensor([True, False, True]),
    }


def test_what_is_written_is_read_by_safetensors(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    write_weights(
        tmp_path, [[new(name, tensor) for name, tensor in tensors.items()]], metadata={"a": "b"}
    )
    assert [path.name for path in tmp_path.iterdir()] == [SINGLE_FILE]
    loaded = load_file(tmp_path / SINGLE_FILE)
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor), name
    with safe_open(tmp_path / SINGLE_FILE, framework="pt") as file:
        assert file.metadata() == {"a": "b"}


def test_what_safetensors_has_written_is_read(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, tmp_path / SINGLE_FILE, metadata={"format": "pt"})
    weights = load_weights(tmp_path)
    assert weights.metadata == {"format": "pt"}
    assert weights.by_name.keys() == tensors.keys()
    for name, stored in weights.by_name.items():
        assert stored.dtype == tensors[name].dtype
        assert torch.equal(stored.load(), tensors[name]), name
    assert torch.equal(weights.by_name["wide"].load_rows(1, 3), tensors["wide"][1:3])


def test_every_tensor_is_aligned(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    write_weights(tmp_path, [[new(name, tensor) for name, tensor in tensors.items()]], metadata={})
    for stored in load_weights(tmp_path).by_name.values():
        assert stored.start % stored.dtype.itemsize == 0


def test_several_files_have_an_index_with_their_sum(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    every = [new(name, tensor) for name, tensor in tensors.items()]
    write_weights(one, [every[:2], every[2:]], metadata={})
    index = json.loads((one / INDEX_FILE).read_text())
    # 3 bf16, 20 float32, one int64, no float32 and 3 booleans
    assert index["metadata"] == {"total_parameters": 27, "total_size": 6 + 80 + 8 + 0 + 3}
    assert index["weight_map"]["odd"] == "model-00001-of-00002.safetensors"
    assert index["weight_map"]["flag"] == "model-00002-of-00002.safetensors"
    # A copy of a copy has the same bytes.
    write_weights(two, load_weights(one).shards, metadata={})
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_a_tensor_is_made_when_its_turn_comes(tmp_path: Path) -> None:
    made = []

    def make(name: str) -> Callable[[], Tensor]:
        def run() -> Tensor:
            made.append((name, (tmp_path / SINGLE_FILE).stat().st_size))
            return torch.zeros(1 << 16)

        return run

    plan = [NewTensor(name, torch.float32, (1 << 16,), make(name)) for name in "ab"]
    assert made == []
    write_weights(tmp_path, [plan], metadata={})
    assert [name for name, _ in made] == ["a", "b"]
    assert made[1][1] - made[0][1] >= 1 << 18  # a is in the file before b is made


def test_a_tensor_of_another_shape_than_planned_is_a_bug(tmp_path: Path) -> None:
    plan = NewTensor("a", torch.float32, (2,), lambda: torch.zeros(3))
    with pytest.raises(ValueError, match="a: expected"):
        write_weights(tmp_path, [[plan]], metadata={})


@given(st.lists(st.integers(0, 20)), st.integers(1, 30))
def test_shards_keep_order_and_limit(sizes: list[int], limit: int) -> None:
    plan = [
        NewTensor(str(index), torch.uint8, (size,), lambda: torch.empty(0))
        for index, size in enumerate(sizes)
    ]
    shards = split_by_size(plan, max_bytes=limit)
    assert [tensor for shard in shards for tensor in shard] == plan
    for shard in shards:
        assert len(shard) == 1 or sum(tensor.num_bytes for tensor in shard) <= limit


def test_a_cut_file_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / SINGLE_FILE
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        load_weights(tmp_path)


def test_an_index_that_is_wrong_is_refused(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    every = [new(name, tensor) for name, tensor in tensors.items()]
    write_weights(tmp_path, [every[:2], every[2:]], metadata={})
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    del index["weight_map"]["flag"]
    (tmp_path / INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="does not match its files; flag first"):
        load_weights(tmp_path)
    (tmp_path / INDEX_FILE).write_text("[]")
    with pytest.raises(CheckpointError, match="cannot be read as an index"):
        load_weights(tmp_path)


def test_no_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        load_weights(tmp_path)
