"""Faults planted in a base: its tokenizer, its rows, its tying."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.inspection.doctor.doctor import CHECKS, examine, found_by
from coordexp.inspection.doctor.verdict import CheckResult, Pieces
from coordexp.inspection.doctor.vocabulary import KnownVocab
from coordexp.model.load import load_tokenizer
from tests.inspection.conftest import MakeRun

EMBEDDING = "model.language_model.embed_tokens.weight"


@pytest.fixture
def base(tiny_expanded: Path, tmp_path: Path) -> Path:
    """A copy to plant faults in."""
    return Path(shutil.copytree(tiny_expanded, tmp_path / "base"))


@pytest.fixture
def pieces(make_run: MakeRun, base: Path) -> Pieces:
    vocab = CoordVocab.from_tokenizer(load_tokenizer(base), SPEC_ALPHABET)
    return Pieces(make_run(model={"path": str(base)}), KnownVocab(vocab))


def edit_weights(base: Path, **tensors: Tensor) -> None:
    weights = load_file(base / "model.safetensors")
    weights.update({name.replace("__", "."): tensor for name, tensor in tensors.items()})
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


def embedding(base: Path) -> Tensor:
    return load_file(base / "model.safetensors")[EMBEDDING]


def tell_tied(base: Path, *, top: bool, text: bool) -> None:
    config = json.loads((base / "config.json").read_text())
    config["tie_word_embeddings"] = top
    config["text_config"]["tie_word_embeddings"] = text
    (base / "config.json").write_text(json.dumps(config))


def look(name: str, pieces: Pieces) -> CheckResult:
    """What a check finds after the base was looked at, as it is now."""
    checks = {check.name: check for check in CHECKS}
    found_by(checks["base"], pieces)
    return found_by(checks[name], pieces)


def test_ids_in_the_wrong_order_are_found(pieces: Pieces, base: Path) -> None:
    path = base / "tokenizer.json"
    tokens = json.loads(path.read_text())
    by_content = {token["content"]: token for token in tokens["added_tokens"]}
    first, second = by_content["<|coord_0|>"], by_content["<|coord_1|>"]
    first["id"], second["id"] = second["id"], first["id"]
    tokens["added_tokens"].sort(key=lambda token: token["id"])
    path.write_text(json.dumps(tokens))
    config = base / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    settings.pop("added_tokens_decoder", None)
    config.write_text(json.dumps(settings))
    found = look("tokenizer ids", pieces)
    assert found.verdict == "red"
    assert "contiguous and in order" in found.found


def test_ids_that_the_configuration_got_wrong_are_found(make_run: MakeRun) -> None:
    offset = {"enabled": True, "ids": {"start": 7, "end": 1006}}
    config = make_run(custom={"coord_offset": offset})
    found = look("tokenizer ids", Pieces(config))
    assert found.verdict == "red"
    assert "custom.coord_offset.ids" in found.found


def test_the_text_baseline_needs_no_coord_tokens(make_run: MakeRun, tiny_base: Path) -> None:
    off = {"enabled": False}
    config = make_run(
        model={"path": str(tiny_base)},
        custom={"coord_tokens": off, "coord_soft_ce_w1": off, "coord_offset": off},
        training={"optimizer": "multimodal"},
    )
    pieces = Pieces(config)
    assert look("tokenizer ids", pieces).verdict == "green"
    assert look("vocabulary rows", pieces).verdict == "green"
    assert pieces.take(KnownVocab).vocab is None


def test_a_matrix_with_too_few_rows_is_found(pieces: Pieces, base: Path) -> None:
    edit_weights(base, **{EMBEDDING: embedding(base)[:600].clone()})
    found = look("vocabulary rows", pieces)
    assert found.verdict == "red"
    assert found.found.startswith("600 rows of 192, but coord ids reach")


def test_coord_rows_that_are_not_finite_or_all_alike_are_found(pieces: Pieces, base: Path) -> None:
    vocab = pieces.take(KnownVocab).vocab
    assert vocab is not None
    rows = embedding(base)
    rows[vocab.ids.start : vocab.ids.stop] = 0.5
    edit_weights(base, **{EMBEDDING: rows})
    alike = look("vocabulary rows", pieces)
    assert (alike.verdict, "only 1 of 1000" in alike.found) == ("yellow", True)
    rows[vocab.ids.start] = torch.nan
    edit_weights(base, **{EMBEDDING: rows})
    assert look("vocabulary rows", pieces).verdict == "red"


def test_a_stored_head_where_the_configuration_says_tied_is_found(
    pieces: Pieces, base: Path
) -> None:
    edit_weights(base, **{"lm_head.weight": embedding(base)})
    assert look("tying", pieces).verdict == "green"  # the same rows, stored twice
    edit_weights(base, **{"lm_head.weight": embedding(base) + 1})
    found = look("tying", pieces)
    assert (found.verdict, "a head of its own is stored" in found.found) == ("red", True)
    tell_tied(base, top=False, text=False)
    assert look("tying", pieces).verdict == "green"


def test_a_head_that_is_told_of_and_not_stored_is_found(pieces: Pieces, base: Path) -> None:
    tell_tied(base, top=False, text=False)
    assert look("tying", pieces).found.endswith("but none are stored")
    assert look("tying", pieces).verdict == "red"


def test_a_configuration_that_contradicts_itself_is_found(pieces: Pieces, base: Path) -> None:
    tell_tied(base, top=True, text=False)
    assert look("tying", pieces).verdict == "yellow"


def test_two_tables_on_a_tied_base_are_pointed_out(make_run: MakeRun) -> None:
    config = make_run(custom={"coord_offset": {"enabled": True, "tie_head": False}})
    found = look("tying", Pieces(config))
    assert found.verdict == "yellow"
    assert "tie_head: true" in found.advice


def test_a_base_that_is_not_there_is_one_fault(make_run: MakeRun, tmp_path: Path) -> None:
    diagnosis = examine(make_run(model={"path": str(tmp_path / "gone")}))
    red = [name for name, found in diagnosis.findings.items() if found.verdict == "red"]
    assert red == ["base"]
    assert "no such directory" in diagnosis.findings["base"].found
    assert diagnosis.findings["tying"].found == "not looked at, because of: base"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{ half", bytes(range(256))])
def test_a_broken_base_is_one_fault(
    pieces: Pieces, base: Path, name: str, content: bytes | None
) -> None:
    (base / name).unlink()
    if content is not None:
        (base / name).write_bytes(content)
    assert look("base", pieces).verdict == "red"
    assert look("tying", pieces).found == "not looked at, because of: base"
