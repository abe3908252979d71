import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers.answer import Answer
from coordexp.client.asked_model import load_asked_model
from coordexp.client.reply import align_tokens, read_reply
from coordexp.errors import CoordExpError
from tests.client.replies import SIX, box, completion

Read = Callable[[dict[str, object]], Answer]


@pytest.fixture
def read(asked: Path) -> Read:
    model = load_asked_model(asked)
    return lambda reply: read_reply(json.dumps(reply).encode(), model.style, model.end_marks)


def test_text_pieces_and_probabilities_are_those_of_predict(read: Read) -> None:
    answer = read(completion(*SIX))
    assert answer.pieces == tuple(token for token, _ in SIX)
    assert answer.text == "".join(answer.pieces)
    assert answer.probabilities == pytest.approx([p for _, p in SIX])
    assert answer.finish_reason == "eos"
    assert len(answer.beliefs) == 4


@pytest.mark.parametrize("kept", [True, False])
def test_the_end_of_the_turn_is_no_part_of_it(read: Read, kept: bool) -> None:
    reply = completion(*SIX, ("<|im_end|>", 1.0))
    if not kept:  # the token is listed, and its text left out, as vLLM does
        reply["choices"][0]["message"]["content"] = "".join(token for token, _ in SIX)  # type: ignore[index]
    answer = read(reply)
    assert answer.text == "".join(token for token, _ in SIX)
    assert len(answer.pieces) == len(answer.probabilities) == len(SIX)


def test_a_probability_is_one_at_most(read: Read) -> None:
    assert read(completion(("{}", 1.0001))).probabilities == (1.0,)


def test_an_answer_that_was_cut_off_says_so(read: Read) -> None:
    assert read(completion(*SIX[:4], finish_reason="length")).finish_reason == "length"


@pytest.mark.parametrize("left", ["", '"', " "])
def test_coordinates_that_vanished_are_found_out(read: Read, left: str) -> None:
    """vLLM leaves special tokens out unless it is told otherwise, and says nothing of it."""
    stripped = [(left if "coord" in token else token, p) for token, p in SIX if token or left]
    reply = completion(*stripped)
    with pytest.raises(CoordExpError, match=r"vanished.*skip_special_tokens"):
        read(reply)


@pytest.mark.parametrize("place", ['["", "", "", ""]', "[]"])
def test_also_where_only_the_text_has_lost_them(read: Read, place: str) -> None:
    reply = completion(*SIX)
    text = "".join(token for token, _ in SIX if "coord" not in token)
    text = text.replace('["", "", "", ""]', place)
    reply["choices"][0]["message"]["content"] = text  # type: ignore[index]
    with pytest.raises(CoordExpError, match="vanished"):
        read(reply)


@pytest.mark.parametrize("text", ["{}", "I see nothing.", '{"object_1": {"desc": "six"}}'])
def test_an_answer_without_places_has_lost_nothing(read: Read, text: str) -> None:
    assert read(completion((text, 1.0))).text == text


def test_nor_has_one_in_plain_integers(make_asked: Callable[..., Path]) -> None:
    model = load_asked_model(make_asked(coord_tokens=False))
    tokens = [("{", 1.0), *box(1, "six", 1, 2, 3, 4), ("}", 1.0)]
    plain = completion(*((t.replace("<|coord_", "").replace("|>", ""), p) for t, p in tokens))
    answer = read_reply(json.dumps(plain).encode(), model.style, model.end_marks)
    assert not answer.beliefs
    assert '["1", "2", "3", "4"]' in answer.text


def test_a_model_without_coordinate_tokens_cannot_lose_any(make_asked: Callable[..., Path]) -> None:
    model = load_asked_model(make_asked(coord_tokens=False))
    hollow = completion(*(("" if "coord" in token else token, p) for token, p in SIX))
    assert not read_reply(json.dumps(hollow).encode(), model.style, model.end_marks).beliefs
    spelled = read_reply(json.dumps(completion(*SIX)).encode(), model.style, model.end_marks)
    assert not spelled.beliefs


def test_without_log_probabilities_there_is_no_score(read: Read) -> None:
    for logprobs in (None, {"content": None}, {"content": []}):
        reply = completion(*SIX)
        reply["choices"][0]["logprobs"] = logprobs  # type: ignore[index]
        with pytest.raises(CoordExpError, match="no log probabilities"):
            read(reply)


def test_token_ids_in_place_of_tokens_are_found_out(read: Read) -> None:
    reply = completion(*SIX)
    for number, token in enumerate(reply["choices"][0]["logprobs"]["content"]):  # type: ignore[index]
        token["token"] = f"token_id:{number}"
    with pytest.raises(CoordExpError, match="token ids"):
        read(reply)


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b"\xff"])
def test_what_is_no_completion_is_said(asked: Path, content: bytes) -> None:
    model = load_asked_model(asked)
    with pytest.raises(CoordExpError, match="no chat completion"):
        read_reply(content, model.style, model.end_marks)


def test_an_answer_that_was_given_up_is_none(read: Read) -> None:
    with pytest.raises(CoordExpError, match="broke the answer off: abort"):
        read(completion(*SIX, finish_reason="abort"))


@given(st.text(alphabet='aé日😀" {', max_size=12), st.randoms(use_true_random=False))
def test_pieces_join_to_the_text_whatever_the_tokens_split(text: str, cut: object) -> None:
    """Tokens are runs of bytes; a server tells each as UTF-8, with U+FFFD where that is none."""
    content = text.encode()
    ends = sorted({cut.randint(0, len(content)) for _ in range(6)} | {len(content)})  # type: ignore[attr-defined]
    starts = [0, *ends[:-1]]
    tokens = [
        content[begin:end].decode("utf-8", errors="replace")
        for begin, end in zip(starts, ends, strict=True)
        if begin < end
    ]
    pieces = align_tokens(text, tokens)
    assert "".join(pieces) == text
    assert len(pieces) == len(tokens)
    for piece, token in zip(pieces, tokens, strict=True):
        assert piece == token or not token.isascii()


@pytest.mark.parametrize(
    ("text", "tokens", "pieces"),
    [
        ("é", ["", "é"], ["", "é"]),  # told with the last, as by the own server
        ("日x", ["", "", "日", "x"], ["", "", "日", "x"]),
        ("😀x", ["\ufffd", "", "\ufffd", "x"], ["", "", "😀", "x"]),
        ("a日b", ["a\ufffd", "\ufffdb"], ["a", "日b"]),
        ("éé", ["é", "\ufffd", "\ufffd"], ["é", "", "é"]),
        ("a", ["a", ""], ["a", ""]),  # an end of the turn that is left out
        ("a", ["a", "\ufffd"], ["a", ""]),  # cut off inside of a character
        ("\ufffd", ["\ufffd"], ["\ufffd"]),
        ("", [], []),
    ],
)
def test_a_character_belongs_to_the_last_token_that_has_a_part_of_it(
    text: str, tokens: list[str], pieces: list[str]
) -> None:
    assert list(align_tokens(text, tokens)) == pieces


def test_tokens_of_another_text_are_refused() -> None:
    with pytest.raises(CoordExpError, match="another text"):
        align_tokens("abc", ["a", "x"])
    with pytest.raises(CoordExpError, match="another text"):
        align_tokens("abc", ["a", "b"])
    with pytest.raises(CoordExpError, match="another text"):
        align_tokens("aé", ["a", "è"])
    with pytest.raises(CoordExpError, match="another text"):
        align_tokens("a", ["a", "é"])
    with pytest.raises(CoordExpError, match="another text"):
        align_tokens("aé", ["a"])
    with pytest.raises(CoordExpError, match="another text"):
        align_tokens("a", ["a", "x"])
