import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from coordexp.errors import CheckpointError
from coordexp.inference.decode.json_bytes import PLAIN, STATES, TokenBytes, after_bytes, is_visible

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_the_inside_of_any_json_string_is_allowed(text: str) -> None:
    inside = json.dumps(text, ensure_ascii=False)[1:-1]
    assert after_bytes(PLAIN, inside.encode()) == PLAIN


@given(st.binary(max_size=12))
def test_bytes_that_are_allowed_are_what_json_writes(piece: bytes) -> None:
    is_allowed = after_bytes(PLAIN, piece) == PLAIN
    try:
        text = json.loads(b'"' + piece + b'"')
        is_written = json.dumps(text, ensure_ascii=False)[1:-1].encode() == piece
    except ValueError:
        is_written = False
    assert is_allowed == is_written


@pytest.mark.parametrize(
    "piece",
    [b'a"', b"\n", b"\\x", b"\\/", b"\\u0041", b"\\u000a", b"\xff", b"\xc0\x80", b"\xed\xa0\x80"],
)
def test_quotes_controls_other_escapes_and_broken_characters_are_not(piece: bytes) -> None:
    assert after_bytes(PLAIN, piece) == -1


@given(TEXT, st.data())
def test_a_piece_of_a_character_or_an_escape_has_a_state_of_its_own(
    text: str, data: st.DataObject
) -> None:
    inside = json.dumps(text, ensure_ascii=False)[1:-1].encode()
    cut = data.draw(st.integers(0, len(inside)))
    state = after_bytes(PLAIN, inside[:cut])
    assert state >= 0
    assert after_bytes(state, inside[cut:]) == PLAIN


@pytest.mark.parametrize(
    ("piece", "visible"), [(b" ", False), (b" a", True), (b"\\n", False), (b"\\", False)]
)
def test_white_space_cannot_be_seen(piece: bytes, visible: bool) -> None:
    assert is_visible(piece) is visible


def test_a_token_leads_where_its_bytes_lead(tokenizer: PreTrainedTokenizerBase) -> None:
    pieces = TokenBytes(tokenizer)
    added = tokenizer.added_tokens_decoder
    for state in range(len(STATES)):
        after = pieces.after(state)
        for token_id in range(0, len(after), 97):
            expected = after_bytes(state, pieces.pieces[token_id])
            assert after[token_id] == (-1 if token_id in added else expected)


def test_tokens_have_the_bytes_of_their_text(tokenizer: PreTrainedTokenizerBase) -> None:
    pieces = TokenBytes(tokenizer).pieces
    text = 'black cat, naïve 🙂 "x" <|coord_7|>'
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(pieces[token_id] for token_id in ids) == text.encode()


class Words:
    added_tokens_decoder: dict[int, object] = {}  # noqa: RUF012 - a stand-in

    def get_vocab(self) -> dict[str, int]:
        return {"▁cat": 0}


def test_a_tokenizer_of_words_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"byte-level tokenizer.*--constrain off"):
        TokenBytes(Words())  # type: ignore[arg-type] # all that is needed of one
