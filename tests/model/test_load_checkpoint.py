import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.errors import CheckpointError
from coordexp.model.adapters import install_lora
from coordexp.model.card import CARD_NAME, WeightsCard, load_weights_card, write_card
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    find_offset_head,
    install_coord_offset_adapter,
)
from coordexp.model.fingerprint import rows_fingerprint, tokenizer_fingerprint
from coordexp.model.load import (
    coord_rows,
    load_base,
    load_checkpoint,
    load_coord_vocab,
    load_tokenizer,
)
from tests.model.small import write_small_base
from tests.model.test_coord_offset import logits_of, randomize

ROWS = 1408
# Tied base, one table for embedding and head, DoRA.
FAST_CASES = {(True, True, True), (True, False, False), (False, False, True), (True, None, False)}
WEIGHTS = "adapter_model.safetensors"
EMBED_TABLE = "base_model.model.model.language_model.embed_tokens.coord_offset_adapter.rows"
HEAD_TABLE = "base_model.model.lm_head.coord_offset_adapter.rows"


@pytest.fixture(scope="module")
def bases(tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A small expanded base, tied and untied."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        tied: write_small_base(folder / str(tied), tiny_expanded, rows=ROWS, tied=tied)
        for tied in (True, False)
    }


@pytest.fixture(scope="module")
def vocab(tiny_expanded: Path) -> CoordVocab:
    return load_coord_vocab(tiny_expanded, SPEC_ALPHABET)


def randomize_lora(model: PeftModel) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def open_fp32(path: Path) -> PreTrainedModel:
    return load_base(path, dtype="float32", attn_implementation="sdpa")


def make_adapted(
    base: Path,
    vocab: CoordVocab,
    *,
    tie_head: bool | None,
    use_dora: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[PeftModel, WeightsCard]:
    model = open_fp32(base)
    ids = (vocab.ids[0], vocab.ids[-1])
    card = WeightsCard(
        base=str(base),
        tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
        coord_ids=ids,
        coord_rows=rows_fingerprint(coord_rows(model, *ids)),
        tie_head=tie_head,
    )
    if tie_head is not None:
        install_coord_offset_adapter(model, coord_ids=vocab.ids, tie_head=tie_head, dtype=dtype)
    adapted = install_lora(
        model,
        towers=("language",),
        leaves=None,
        rank=2,
        alpha=4,
        dropout=0.0,
        use_dora=use_dora,
    )
    randomize(adapted)
    randomize_lora(adapted)
    return adapted.eval(), card


def save(model: PeftModel, card: WeightsCard, path: Path) -> Path:
    model.save_pretrained(path)
    write_card(path, style={}, weights=card)
    return path


@pytest.fixture
def saved(bases: dict[bool, Path], vocab: CoordVocab, tmp_path: Path) -> Path:
    """A checkpoint of the tied base, one table, LoRA."""
    model, card = make_adapted(bases[True], vocab, tie_head=True)
    return save(model, card, tmp_path / "saved")


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


def test_offsets_alone_can_be_trained_on_a_bf16_base(
    bases: dict[bool, Path], saved: Path, vocab: CoordVocab
) -> None:
    """The fingerprint of the rows does not depend on the dtype that the base is loaded in."""
    restored = load_checkpoint(bases[True], saved, dtype="bfloat16")
    head = find_offset_head(restored)
    assert head is not None
    assert head.weight.dtype == torch.bfloat16
    assert head.offsets().dtype == torch.float32
    assert logits_of(restored, torch.tensor([[1, vocab.ids[0]]])).dtype == torch.bfloat16


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


def test_another_tokenizer_is_refused(
    bases: dict[bool, Path], saved: Path, tiny_base: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(bases[True], other)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_base / name, other / name)
    with pytest.raises(CheckpointError, match="another tokenizer"):
        load_checkpoint(other, saved)


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
