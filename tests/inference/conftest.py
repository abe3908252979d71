"""A model to ask: the tiny base with coord tokens, carrying a style."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_inputs, load_tokenizer
from coordexp.rendering.dense_json import JsonFormat
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle, style_to_json
from tests.model.qwen import load_real_tokenizer


@pytest.fixture(scope="session")
def make_style() -> Callable[..., RenderingStyle]:
    def make(*, coord_tokens: bool = True, json_format: JsonFormat = "standard") -> RenderingStyle:
        return RenderingStyle(
            system_prompt=None,
            user_prompt="Find every digit.",
            json_format=json_format,
            object_ordering="sorted",
            coord_tokens=coord_tokens,
            alphabet=SPEC_ALPHABET,
            min_pixels=None,
            max_pixels=None,
        )

    return make


@pytest.fixture(scope="session")
def as_merged(make_style: Callable[..., RenderingStyle]) -> Callable[..., Path]:
    """Copy a model and write `coordexp.json` beside it, as `coordexp merge` would."""

    def copy(src: Path, dst: Path, *, coord_tokens: bool = True) -> Path:
        shutil.copytree(src, dst)
        weights = WeightsCard(
            base=None,
            tokenizer=tokenizer_fingerprint(load_tokenizer(src)),
            coord_ids=None,
            coord_rows=None,
            tie_head=None,
        )
        style = make_style(coord_tokens=coord_tokens)
        write_card(dst, style=style_to_json(style), weights=weights)
        return dst

    return copy


@pytest.fixture(scope="session")
def model_path(
    as_merged: Callable[..., Path], tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return as_merged(tiny_expanded, tmp_path_factory.mktemp("merged") / "model")


@pytest.fixture(scope="session", params=["real", "tiny"])
def tokenizer(request: pytest.FixtureRequest, tiny_expanded: Path) -> PreTrainedTokenizerBase:
    """The real Qwen3 tokenizer with coord tokens, and the tiny base's."""
    if request.param == "tiny":
        return load_tokenizer(tiny_expanded)
    real = load_real_tokenizer()
    coord_tokens = [SPEC_ALPHABET.wildcard, *SPEC_ALPHABET.tokens()]
    real.add_tokens(coord_tokens, special_tokens=True)
    return real


@pytest.fixture(scope="session", params=["standard", "compact"])
def speaker(
    request: pytest.FixtureRequest,
    tokenizer: PreTrainedTokenizerBase,
    make_style: Callable[..., RenderingStyle],
    tiny_expanded: Path,
) -> Encoder:
    """An encoder for each tokenizer and JSON format."""
    processor = load_inputs(tiny_expanded, min_pixels=None, max_pixels=None)
    return Encoder(tokenizer, processor, make_style(json_format=request.param))


@pytest.fixture(scope="session")
def predictor(model_path: Path) -> Predictor:
    return load_predictor(model_path)
