import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.model.card import CARD_NAME, load_weights_card, write_card
from coordexp.model.coord_offset import ADAPTER_NAME, find_offset_head
from coordexp.model.fingerprint import rows_fingerprint, stored_rows
from coordexp.model.load import DTypeName, load_checkpoint, load_tokenizer
from coordexp.model.tokenizer_files import add_tokens
from tests.model.checkpoints import (
    EMBED_TABLE,
    HEAD_TABLE,
    WEIGHTS,
    make_adapted,
    open_fp32,
    save,
)
from tests.model.test_coord_offset import logits_of

# Tied base, one table for embedding and head, DoRA.
FAST_CASES = {(True, True, True), (True, False, False), (False, False, True), (True, None, False)}


# --- round trip ---


@pytest.mark.parametrize(
    ("tied", "tie_head", "use_dora"),
    [
        pytest.param(*case, marks=[] if case in FAST_CASES else [pytest.mark.slow])
        for case in product([True, False], [True, False, None], [True, False])
    ],
)
def test_a_saved_checkpoint_is_restored_bit_for_bit(
    bases: dict[bool, Path],
    vocab: CoordVocab,
    tmp_path: Path,
    tied: bool,
    tie_head: bool | None,
    use_dora: bool,
) -> None:
    model, card = make_adapted(bases[tied], vocab, tie_head=tie_head, use_dora=use_dora)
    tokens = torch.tensor([[3, vocab.ids[0], 5, vocab.ids[500], vocab.ids[-1], 7]])
    expected = logits_of(model, tokens)
    assert not torch.equal(expected, logits_of(open_fp32(bases[tied]), tokens))

    path = save(model, card, tmp_path / "saved")
    tables = {name for name in load_file(path / WEIGHTS) if ADAPTER_NAME in name}
    wanted = {None: set(), True: {EMBED_TABLE}, False: {EMBED_TABLE, HEAD_TABLE}}
    assert tables == wanted[tie_head]

    restored = load_checkpoint(bases[tied], path, dtype="float32").eval()
    assert torch.equal(logits_of(restored, tokens), expected)
    assert not any(parameter.requires_grad for parameter in restored.parameters())


def test_paths_may_be_text(bases: dict[bool, Path], saved: Path) -> None:
    assert find_offset_head(load_checkpoint(str(bases[True]), str(saved))) is not None


@pytest.mark.parametrize("tie_head", [True, False])
def test_training_goes_on_with_the_same_parameters(
    bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path, tie_head: bool
) -> None:
    model, card = make_adapted(bases[True], vocab, tie_head=tie_head)
    path = save(model, card, tmp_path / "saved")
    again = load_checkpoint(bases[True], path, dtype="float32", trainable=True)
    learning = {name for name, p in again.named_parameters() if p.requires_grad}
    assert learning == {name for name, p in model.named_parameters() if p.requires_grad}


def test_two_tables_do_not_change_places(
    bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path
) -> None:
    model, card = make_adapted(bases[True], vocab, tie_head=False)
    path = save(model, card, tmp_path / "saved")
    stored = load_file(path / WEIGHTS)
    assert not torch.equal(stored[EMBED_TABLE], stored[HEAD_TABLE])
    head = find_offset_head(load_checkpoint(bases[True], path, dtype="float32"))
    assert head is not None
    assert torch.equal(head.offsets(), stored[HEAD_TABLE])
    assert torch.equal(head.embedding.coord_offset_adapter(), stored[EMBED_TABLE])


def test_tables_come_back_in_the_dtype_they_were_trained_in(
    bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path
) -> None:
    model, card = make_adapted(bases[True], vocab, tie_head=True, dtype=torch.bfloat16)
    path = save(model, card, tmp_path / "saved")
    head = find_offset_head(load_checkpoint(bases[True], path, dtype="float32"))
    assert head is not None
    assert head.offsets().dtype == torch.bfloat16
    assert torch.equal(head.offsets(), load_file(path / WEIGHTS)[EMBED_TABLE])


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_base_may_run_in_any_dtype(
    bases: dict[bool, Path],
    saved: Path,
    vocab: CoordVocab,
    tmp_path: Path,
    stored: torch.dtype,
    dtype: DTypeName,
) -> None:
    """It is the rows on the disk that are compared."""
    base = tmp_path / "base"
    shutil.copytree(bases[True], base)
    weights = {
        name: tensor.to(stored) for name, tensor in load_file(base / "model.safetensors").items()
    }
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    rows = rows_fingerprint(stored_rows(base, (vocab.ids[0], vocab.ids[-1]), QWEN3_VL.vocabulary))
    write_card(saved, style={}, weights=replace(load_weights_card(saved), coord_rows=rows))
    restored = load_checkpoint(base, saved, dtype=dtype)
    head = find_offset_head(restored)
    assert head is not None
    assert head.weight.dtype == getattr(torch, dtype)
    assert head.offsets().dtype == torch.float32
    tokens = torch.tensor([[1, vocab.ids[0]]])
    assert logits_of(restored, tokens).dtype == getattr(torch, dtype)


# --- what must not be put together ---


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(path / WEIGHTS)
    change(tensors)
    save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})


def test_a_base_with_other_coord_rows_is_refused(
    bases: dict[bool, Path], saved: Path, vocab: CoordVocab, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(bases[True], other)
    tensors = load_file(other / "model.safetensors")
    tensors["model.language_model.embed_tokens.weight"][vocab.ids[3], 0] += 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="coord rows are not the ones"):
        load_checkpoint(other, saved, dtype="float32")


def test_a_base_with_another_head_is_refused(
    bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path
) -> None:
    """Offsets are added to the head's rows too."""
    model, card = make_adapted(bases[False], vocab, tie_head=True)
    path = save(model, card, tmp_path / "saved")
    other = tmp_path / "other"
    shutil.copytree(bases[False], other)
    tensors = load_file(other / "model.safetensors")
    tensors["lm_head.weight"][vocab.ids[3], 0] += 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    load_checkpoint(bases[False], path, dtype="float32")
    with pytest.raises(CheckpointError, match="coord rows are not the ones"):
        load_checkpoint(other, path, dtype="float32")


def other_tokenizer(base: Path, dst: Path, files_from: Path) -> Path:
    shutil.copytree(base, dst)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(files_from / name, dst / name)
    return dst


def test_another_tokenizer_is_refused(
    bases: dict[bool, Path], saved: Path, tiny_base: Path, tmp_path: Path
) -> None:
    other = other_tokenizer(bases[True], tmp_path / "other", tiny_base)
    with pytest.raises(CheckpointError, match=r"another tokenizer than .*saved was trained with$"):
        load_checkpoint(other, saved)


def test_a_checkpoint_with_its_tokenizer_knows_what_differs(
    bases: dict[bool, Path], saved: Path, tiny_base: Path, tmp_path: Path
) -> None:
    load_tokenizer(bases[True]).save_pretrained(saved)
    other = other_tokenizer(bases[True], tmp_path / "other", tiny_base)
    message = r"<\|coord_\*\|> was id 388, here it is missing; 1001 tokens differ"
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(other, saved)
    more = other_tokenizer(bases[True], tmp_path / "more", bases[True])
    add_tokens(bases[True], more, ["<new>"], first_id=1389)
    with pytest.raises(CheckpointError, match="<new> is id 1389 and was not there; 1 such tokens"):
        load_checkpoint(more, saved)


def test_a_lost_table_is_noticed(bases: dict[bool, Path], saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors.pop(EMBED_TABLE))
    with pytest.raises(CheckpointError, match="expected 1 coord-offset tables, got 0"):
        load_checkpoint(bases[True], saved)


def test_a_table_that_the_card_does_not_promise_is_noticed(
    bases: dict[bool, Path], saved: Path
) -> None:
    card = load_weights_card(saved)
    write_card(saved, style={}, weights=replace(card, tie_head=None))
    with pytest.raises(CheckpointError, match="expected 0 coord-offset tables, got 1"):
        load_checkpoint(bases[True], saved)


def test_an_extra_tensor_is_noticed(bases: dict[bool, Path], saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors.update({"base_model.model.stray": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="stray finds no place in the model"):
        load_checkpoint(bases[True], saved)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_a_missing_lora_tensor_is_noticed(bases: dict[bool, Path], saved: Path) -> None:
    def drop_one(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[next(name for name in tensors if "lora_A" in name)]

    edit_weights(saved, drop_one)
    with pytest.raises(CheckpointError, match="is missing in the checkpoint"):
        load_checkpoint(bases[True], saved)


def test_tables_of_another_width_are_refused(bases: dict[bool, Path], saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors.update({EMBED_TABLE: torch.zeros(1000, 8)}))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(bases[True], saved)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (CARD_NAME, None, "no coordexp.json; expected an adapter"),
        (CARD_NAME, "{", "cannot be read"),
        (CARD_NAME, '{"format_version": 9}', "expected format_version 1"),
        (CARD_NAME, '{"format_version": 1}', "section 'weights' is missing"),
        (CARD_NAME, '{"format_version": 1, "weights": {"base": 3}}', "weights: .* validation"),
        (WEIGHTS, None, "adapter_model.safetensors is missing"),
        (WEIGHTS, "cut off", "adapter_model.safetensors: cannot be read"),
        ("adapter_config.json", None, "adapter_config.json is missing"),
    ],
)
def test_a_broken_checkpoint_is_refused(
    bases: dict[bool, Path], saved: Path, name: str, content: str | None, message: str
) -> None:
    (saved / name).unlink()
    if content is not None:
        (saved / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"(?s){message}"):
        load_checkpoint(bases[True], saved)
