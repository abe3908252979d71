from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from coordexp.errors import CheckpointError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.fingerprint import rows_fingerprint, stored_rows, tokenizer_fingerprint
from coordexp.model.load import coord_rows, load_base, load_tokenizer
from coordexp.model.shards import load_weights


def test_rows_have_the_same_fingerprint_in_every_dtype_that_holds_them() -> None:
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert rows_fingerprint(rows) == rows_fingerprint(rows.float()) == rows_fingerprint(rows.half())


def test_one_bit_changes_a_fingerprint() -> None:
    rows = torch.ones(5, 3)
    other = rows.clone()
    other[4, 2] += 2**-23
    assert rows_fingerprint(rows) != rows_fingerprint(other)


def test_a_view_and_its_copy_agree() -> None:
    rows = torch.randn(9, 4)
    assert rows_fingerprint(rows[2:5]) == rows_fingerprint(rows[2:5].clone())


def test_an_added_token_changes_a_tokenizer_s_fingerprint(
    tiny_base: Path, tiny_expanded: Path
) -> None:
    base, again, other = map(load_tokenizer, (tiny_base, tiny_base, tiny_expanded))
    assert tokenizer_fingerprint(base) == tokenizer_fingerprint(again)
    assert tokenizer_fingerprint(base) != tokenizer_fingerprint(other)


@pytest.mark.parametrize("tied", [True, False])
def test_stored_rows_are_the_model_s(bases: dict[bool, Path], tied: bool) -> None:
    """Of an untied base those of the head follow."""
    model = load_base(bases[tied], dtype="float32", attn_implementation="sdpa")
    rows = stored_rows(bases[tied], (400, 419), QWEN3_VL.vocabulary)
    assert torch.equal(rows, coord_rows(model, 400, 419))
    assert len(rows) == (20 if tied else 40)


def test_rows_are_read_in_the_dtype_that_they_are_stored_in(
    bases: dict[bool, Path], tmp_path: Path
) -> None:
    """float16 has no 1e-9, and bf16 does: only the disk knows."""
    tensors = load_file(bases[True] / "model.safetensors")
    (name,) = (name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors[name][400, 0] = 1e-9
    halves = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    save_file(halves, tmp_path / "model.safetensors", metadata={"format": "pt"})
    rows = stored_rows(tmp_path, (400, 419), QWEN3_VL.vocabulary)
    assert rows.dtype == torch.bfloat16
    assert rows[0, 0] > 0
    assert rows_fingerprint(rows) == rows_fingerprint(rows.float())
    assert rows_fingerprint(rows) != rows_fingerprint(rows.half())


def test_rows_that_are_not_there_are_named(bases: dict[bool, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has 1408 rows, coord ids reach 1408"):
        stored_rows(bases[True], (400, 1408), QWEN3_VL.vocabulary)
    only = load_weights(bases[True]).by_name["model.language_model.norm.weight"]
    save_file({only.name: only.load()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no tensor ends in embed_tokens"):
        stored_rows(tmp_path, (400, 419), QWEN3_VL.vocabulary)
