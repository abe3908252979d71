"""The style comes from the configuration, or from the model."""

import shutil
from pathlib import Path

import pytest
import yaml

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import CheckpointError, InputError
from coordexp.inspection.survey.encoding import (
    default_style,
    source_of,
    source_of_config,
    source_of_model,
)
from coordexp.model.card import WeightsCard, write_card
from coordexp.rendering.style import style_to_json


def test_a_configuration_gives_its_base_its_style_and_its_limit(
    tmp_path: Path, tiny_base: Path
) -> None:
    config = {
        "model": {"path": str(tiny_base)},
        "training": {"output_dir": "out", "global_max_length": 777, "packing_buffer": 9},
        "data": {"train": "a.jsonl"},
        "custom": {"json_format": "compact", "user_prompt": "What?"},
    }
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(config))
    source = source_of_config(path)
    assert (source.path, source.max_length, source.pack_buffer) == (tiny_base, 777, 9)
    assert (source.style.json_format, source.style.user_prompt) == ("compact", "What?")
    assert not source.style.coord_tokens
    assert source_of(config=path, model=None, alphabet=SPEC_ALPHABET) == source


def test_a_model_gives_the_style_it_was_trained_in_and_its_base(
    tmp_path: Path, tiny_expanded: Path
) -> None:
    style = default_style(coord_tokens=True, alphabet=SPEC_ALPHABET)
    card = WeightsCard(
        base=str(tiny_expanded), tokenizer="", coord_ids=None, coord_rows=None, tie_head=None
    )
    write_card(tmp_path, style=style_to_json(style), weights=card)
    source = source_of(config=None, model=tmp_path, alphabet=SPEC_ALPHABET)
    assert (source.path, source.style) == (tiny_expanded, style)


def test_a_base_answers_in_coord_tokens_where_it_has_them(
    tiny_base: Path, tiny_expanded: Path
) -> None:
    assert source_of_model(tiny_expanded, SPEC_ALPHABET).style == default_style(
        coord_tokens=True, alphabet=SPEC_ALPHABET
    )
    assert source_of_model(tiny_base, SPEC_ALPHABET).style == default_style(
        coord_tokens=False, alphabet=SPEC_ALPHABET
    )


def test_it_has_to_be_one_of_the_two(tmp_path: Path) -> None:
    for config, model in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(InputError, match=r"either --config X\.yaml or --model PATH"):
            source_of(config=config, model=model, alphabet=SPEC_ALPHABET)
    with pytest.raises(CheckpointError):
        source_of_model(tmp_path / "gone", SPEC_ALPHABET)


def test_a_tokenizer_alone_is_not_enough_to_count(tmp_path: Path, tiny_base: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(tiny_base / name, tmp_path / name)
    with pytest.raises(CheckpointError, match="preprocessor_config"):
        source_of_model(tmp_path, SPEC_ALPHABET).encoder()
