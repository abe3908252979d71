"""A model to ask: the tiny base with coord tokens, carrying a style."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.inference.predict import Predictor, load_predictor
from coordexp.model.card import WeightsCard, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_tokenizer
from coordexp.rendering.style import RenderingStyle, style_to_json


@pytest.fixture(scope="session")
def make_style() -> Callable[..., RenderingStyle]:
    def make(*, coord_tokens: bool = True) -> RenderingStyle:
        return RenderingStyle(
            system_prompt=None,
            user_prompt="Find every digit.",
            json_format="standard",
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


@pytest.fixture(scope="session")
def predictor(model_path: Path) -> Predictor:
    return load_predictor(model_path)
