"""The bases that the package ships are what `coordexp` itself writes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.model.card import load_card_section, load_weights_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_coord_vocab, load_tokenizer
from coordexp.rendering.style import style_from_json
from coordexp.tiny.shipped import SHIPPED, TINY_GRAFTED, write_shipped_base


@pytest.fixture(params=SHIPPED)
def shipped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_shipped_base(request.param, tmp_path / request.param)
    return tmp_path / str(request.param)


def test_the_card_is_that_of_the_tokenizer_beside_it(shipped: Path) -> None:
    card = load_weights_card(shipped)
    assert card.tokenizer == tokenizer_fingerprint(load_tokenizer(shipped))


def test_one_answers_in_integers_and_the_other_in_coord_tokens(shipped: Path) -> None:
    style = style_from_json(load_card_section(shipped, "style"))
    assert style.coord_tokens == (shipped.name == TINY_GRAFTED)
    assert style.user_prompt == "Find every digit."


def test_weights_are_numbers_in_bfloat16_and_fit_a_wheel(shipped: Path) -> None:
    path = shipped / "model.safetensors"
    assert path.stat().st_size < 8_000_000
    for weight in load_file(path).values():
        assert weight.dtype == torch.bfloat16
        assert weight.isfinite().all()


def test_a_graft_is_the_base_with_coord_tokens_and_with_the_same_eyes(tmp_path: Path) -> None:
    for name in SHIPPED:
        write_shipped_base(name, tmp_path / name)
    vocab = load_coord_vocab(tmp_path / TINY_GRAFTED, SPEC_ALPHABET)
    plain, grafted = (load_file(tmp_path / name / "model.safetensors") for name in SHIPPED)
    assert plain.keys() == grafted.keys()
    assert vocab.ids.stop <= grafted["model.language_model.embed_tokens.weight"].shape[0]
    eyes = [name for name in plain if name.startswith("model.visual") and "merger" not in name]
    assert eyes
    assert all(torch.equal(plain[name], grafted[name]) for name in eyes)


def test_a_graft_says_what_it_had_cost_and_how_near_it_comes(tmp_path: Path) -> None:
    write_shipped_base(TINY_GRAFTED, tmp_path / "base")
    figures = json.loads((tmp_path / "base" / "graft.json").read_text("utf-8"))
    assert {"ask", "fit", "train"} <= figures["cost"].keys()
    assert figures["grafted"]["AP"] > figures["base"]["AP"] - 0.03
