from dataclasses import replace

import pytest

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.errors import CheckpointError
from coordexp.rendering.style import RenderingStyle, style_from_json, style_to_json
from tests.rendering.plain import PLAIN_STYLE


@pytest.mark.parametrize(
    "style",
    [
        PLAIN_STYLE,
        replace(
            PLAIN_STYLE,
            system_prompt="Be exact. Größe ✓",
            json_format="compact",
            object_ordering="random",
            coord_tokens=False,
            alphabet=CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None),
            min_pixels=1,
            max_pixels=10**7,
            class_prompt="Find {classes}.",
        ),
    ],
)
def test_a_style_survives_json(style: RenderingStyle) -> None:
    assert style_from_json(style_to_json(style)) == style


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"json_format": "pretty"}, "json_format"),
        ({"alphabet": {"bins": "many"}}, "alphabet"),
        ({"user_prompt": None}, "user_prompt"),
    ],
)
def test_a_broken_style_is_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        style_from_json(style_to_json(PLAIN_STYLE) | changes)


def test_a_missing_field_is_named() -> None:
    section = style_to_json(PLAIN_STYLE)
    del section["coord_tokens"]
    with pytest.raises(CheckpointError, match="coord_tokens"):
        style_from_json(section)


def test_a_style_without_class_lists_reads_as_it_did_before_there_were_any() -> None:
    assert "class_prompt" not in style_to_json(PLAIN_STYLE)


def test_only_a_question_with_a_place_for_classes_can_ask_for_some() -> None:
    assert PLAIN_STYLE.asking_for(["cat"]) == PLAIN_STYLE
    listed = replace(PLAIN_STYLE, class_prompt="Find {classes}, only {classes}.")
    assert listed.asking_for(["cat", "dog"]).user_prompt == "Find cat, dog, only cat, dog."
    assert listed.asking_for([]) == listed
