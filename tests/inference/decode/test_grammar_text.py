import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordexp.answers.grammar_text import answer_grammar_text
from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS
from coordexp.data.contract.record import RecordObject
from coordexp.errors import InputError
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle
from tests.inference.decode.test_grammar import answer_ids, box, objects

VOCAB = CoordVocab(SPEC_ALPHABET, 50)
MAX_NEW_TOKENS = 512


def rules_of(
    style: RenderingStyle, restrict_to: tuple[str, ...] | None = None, max_new_tokens: int = 32
) -> dict[str, str]:
    text = answer_grammar_text(style, VOCAB, restrict_to=restrict_to, max_new_tokens=max_new_tokens)
    return dict(line.split(" ::= ", 1) for line in text.splitlines())


def test_objects_are_numbered_as_far_as_an_answer_can_reach(
    make_style: Callable[..., RenderingStyle],
) -> None:
    rules = rules_of(make_style(), max_new_tokens=16)  # a point takes four of them at least
    assert next(iter(rules)) == "root"
    assert [name for name in rules if name.startswith("object")] == [
        f"object{number}" for number in range(1, 6)
    ]
    assert rules["object4"].endswith('("}" | ", " object5)')
    assert rules["object5"].endswith('"}"')
    assert all(kind in rules["shape"] for kind in GEOMETRY_KINDS)
    assert rules["coord"] == f"Token({', '.join(map(str, range(50, 1050)))})"


def test_the_spaces_are_those_of_the_style(make_style: Callable[..., RenderingStyle]) -> None:
    assert rules_of(make_style(json_format="compact"))["head"] == r'"\":{\"desc\":\""'
    assert rules_of(make_style())["head"] == r'"\": {\"desc\": \""'


def test_free_text_knows_how_coord_tokens_begin(make_style: Callable[..., RenderingStyle]) -> None:
    rules = rules_of(make_style())
    assert [name for name in rules if name.startswith("text")] == [
        f"text{length}" for length in range(len("<|coord_"))
    ]
    # After `<|coord` no underscore; after `<` another `<` may begin anew.
    assert r"[\u005f]" not in rules["text7"]
    assert r"[^\u0000-\u001f\u0022\u005c\u003c\u005f] text0" in rules["text7"]
    assert r"[\u003c] text1" in rules["text1"]
    bare = CoordAlphabet(pattern="{}", bins=1000, wildcard=None)
    plain = rules_of(replace(make_style(), alphabet=bare))
    assert [name for name in plain if name.startswith("text")] == ["text0"]


@pytest.mark.parametrize("names", [("cat", "cat"), (" ",), ("e\u0301",)])
def test_names_that_no_answer_can_have_are_refused(
    make_style: Callable[..., RenderingStyle], names: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match="restrict_to"):
        rules_of(make_style(), names)


class Matcher(Protocol):
    """What is used of xgrammar's."""

    def accept_token(self, token_id: int) -> bool: ...
    def is_terminated(self) -> bool: ...


@cache
def compiled(speaker: Encoder, restrict_to: tuple[str, ...] | None = None) -> Callable[[], Matcher]:
    """Return what begins to match an answer, in the engine that vLLM takes by itself."""
    xgrammar: Any = pytest.importorskip("xgrammar", reason="make check-vllm has it")
    vocab = CoordVocab.from_tokenizer(speaker.tokenizer, SPEC_ALPHABET)
    text = answer_grammar_text(
        speaker.style, vocab, restrict_to=restrict_to, max_new_tokens=MAX_NEW_TOKENS
    )
    padded = len(speaker.tokenizer) + 64
    info = xgrammar.TokenizerInfo.from_huggingface(speaker.tokenizer, vocab_size=padded)
    grammar = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(text)
    ends = [speaker.end_of_turn_id]
    return lambda: xgrammar.GrammarMatcher(grammar, override_stop_tokens=ends)


def lets_through(
    speaker: Encoder, scene: list[RecordObject], restrict_to: tuple[str, ...] | None = None
) -> bool:
    matcher = compiled(speaker, restrict_to)()
    ids = answer_ids(speaker, scene)
    return all(matcher.accept_token(token_id) for token_id in ids) and matcher.is_terminated()


@pytest.mark.vllm
@given(scene=st.lists(objects(), max_size=3))
@settings(max_examples=40)
@example(scene=[])
@example(scene=[box(f"x{mark}") for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
@example(scene=[box(f"{mark}x") for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
@example(scene=[box(mark * 2) for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"])
@example(scene=[box("cat") for _ in range(40)])
@example(
    scene=[box("<|coord"), box("<<|coor d_"), box("\u3000x\u2028"), box("\x00\x7f"), box("🙂")]
)
def test_what_training_teaches_is_let_through(speaker: Encoder, scene: list[RecordObject]) -> None:
    assert lets_through(speaker, scene) == all(item.desc.strip() for item in scene)


@pytest.mark.vllm
@pytest.mark.parametrize(
    "desc", ["", "  ", "\u3000", "\t\x1f", "<|coord_5|>", "a <|coord_*|>", "<<|coord_"]
)
def test_invisible_descs_and_coord_tokens_in_them_are_not(speaker: Encoder, desc: str) -> None:
    matcher = compiled(speaker)()
    ids = answer_ids(speaker, [box("cat")])
    text = speaker.tokenizer.decode(ids).replace("cat", json.dumps(desc, ensure_ascii=False)[1:-1])
    wrong = speaker.tokenizer.encode(text, add_special_tokens=False)
    assert not all(matcher.accept_token(token_id) for token_id in wrong)


@pytest.mark.vllm
def test_another_number_kind_or_name_is_not(speaker: Encoder) -> None:
    names = ("cat", 'a "big" dog', "café (old)")
    assert lets_through(speaker, [box(name) for name in names], names)
    assert not lets_through(speaker, [box("cow")], names)
    text = speaker.tokenizer.decode(answer_ids(speaker, [box("cat"), box("cat")]))
    for right, wrong in (("object_2", "object_3"), ("bbox_2d", "bbox"), ("}}", "}, ")):
        ids = speaker.tokenizer.encode(text.replace(right, wrong), add_special_tokens=False)
        matcher = compiled(speaker)()
        assert not all(matcher.accept_token(token_id) for token_id in ids)
