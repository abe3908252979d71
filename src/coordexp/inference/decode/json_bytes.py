r"""What may stand between the quotes of a JSON string, byte by byte, and which tokens write it.

An automaton over bytes: plain text in UTF-8, and the escapes that `json.dumps(ensure_ascii=False)`
writes, no others. Tokens are pieces of bytes, often of half a character, so a token is allowed in a
state if its bytes lead from there to some state::

    plain --"\\"--> \ --"n"--> plain        plain --C3--> one more byte --A9--> plain

The quote that ends the string is not covered here: which token may hold it depends on the text
after it; see `coordexp.inference.decode.grammar`.

Shapes: `V` token ids.
"""

import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from coordexp.errors import CheckpointError
from coordexp.rendering.dense_json import ESCAPES

_ESCAPE_PREFIXES = sorted({escape[:end] for escape in ESCAPES for end in range(1, len(escape))})
# What a UTF-8 character still needs: the lead byte's state, the bytes it takes and where they lead.
# E0, ED, F0 and F4 take fewer second bytes: no overlong forms, no surrogates, none past U+10FFFF.
_CONTINUATIONS: tuple[tuple[str, range, str], ...] = (
    ("1", range(0x80, 0xC0), ""),
    ("2", range(0x80, 0xC0), "1"),
    ("3", range(0x80, 0xC0), "2"),
    ("E0", range(0xA0, 0xC0), "1"),
    ("ED", range(0x80, 0xA0), "1"),
    ("F0", range(0x90, 0xC0), "2"),
    ("F4", range(0x80, 0x90), "2"),
)
_LEADS: tuple[tuple[range, str], ...] = (
    (range(0xC2, 0xE0), "1"),
    (range(0xE1, 0xF0), "2"),
    (range(0xF1, 0xF4), "3"),
    (range(0xE0, 0xE1), "E0"),
    (range(0xED, 0xEE), "ED"),
    (range(0xF0, 0xF1), "F0"),
    (range(0xF4, 0xF5), "F4"),
)

STATES: tuple[str, ...] = ("", *_ESCAPE_PREFIXES, *(name for name, _, _ in _CONTINUATIONS))
PLAIN = 0


def _build_steps() -> NDArray[np.int8]:
    """Return where each byte leads from each state, -1 where it may not stand."""
    place = {name: index for index, name in enumerate(STATES)}
    steps = np.full((len(STATES), 0x100), -1, dtype=np.int8)
    for byte in range(0x20, 0x80):
        if chr(byte) not in '"\\':
            steps[PLAIN, byte] = PLAIN
    for bytes_, name in _LEADS:
        steps[PLAIN, bytes_.start : bytes_.stop] = place[name]
    for name, bytes_, then in _CONTINUATIONS:
        steps[place[name], bytes_.start : bytes_.stop] = place[then]
    for prefix in ("", *_ESCAPE_PREFIXES):
        for escape in ESCAPES:
            if escape.startswith(prefix) and len(escape) > len(prefix):
                longer = escape[: len(prefix) + 1]
                steps[place[prefix], ord(longer[-1])] = place.get(longer, PLAIN)
    return steps


_STEPS = _build_steps()


def after_bytes(state: int, text: bytes) -> int:
    """Return the state after some bytes, -1 if they may not stand there.

    Example:
        >>> after_bytes(PLAIN, b"a cat"), after_bytes(PLAIN, b'a "cat"')
        (0, -1)
        >>> STATES[after_bytes(PLAIN, "é".encode()[:1])]
        '1'
    """
    for byte in text:
        state = int(_STEPS[state, byte])
        if state < 0:
            break
    return state


def is_visible(text: bytes) -> bool:
    """Return whether the inside of a JSON string holds more than white space, once unescaped."""
    try:
        value: str = json.loads(b'"' + text + b'"')
    except ValueError:  # half a character or half an escape so far
        return False
    return bool(value.strip())


class TokenBytes:
    """The bytes of every token, and where a token leads from a state.

    Args:
        tokenizer: A byte-level BPE.

    Raises:
        CheckpointError: If a token is no sequence of bytes.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        added, vocab = tokenizer.added_tokens_decoder, tokenizer.get_vocab()
        spelled = _bytes_by_character()
        pieces: list[bytes] = [b""] * (max(vocab.values()) + 1)
        for token, token_id in vocab.items():
            if token_id in added:
                pieces[token_id] = added[token_id].content.encode()
                continue
            try:
                pieces[token_id] = bytes(spelled[character] for character in token)
            except KeyError:
                raise CheckpointError(
                    f"constrained decoding needs a byte-level tokenizer, but its token {token!r} "
                    "is none; decode without: --constrain off"
                ) from None
        self.pieces: Sequence[bytes] = pieces
        self._added = [token_id for token_id in added if token_id < len(pieces)]
        self._after: dict[int, NDArray[np.int8]] = {}

    def after(self, state: int) -> NDArray[np.int8]:
        """Return, for every id, the state after it; -1 where it may not stand. Shape `V`."""
        if state not in self._after:
            states = np.full(len(self.pieces), state, dtype=np.int8)
            matrix, longest_first, counts = self._columns
            for column, count in enumerate(counts):
                rows = longest_first[:count]
                now = states[rows]
                moved = _STEPS[now, matrix[rows, column]]
                states[rows] = np.where(now < 0, now, moved)
            states[longest_first[counts[0] :]] = -1  # ids without bytes
            states[self._added] = -1
            self._after[state] = states
        return self._after[state]

    @cached_property
    def _columns(self) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[int]]:
        """The bytes as a matrix, the ids by falling length, and how many reach each column."""
        lengths = np.array([len(piece) for piece in self.pieces])
        matrix = np.zeros((len(self.pieces), int(lengths.max())), dtype=np.uint8)
        for row, piece in enumerate(self.pieces):
            matrix[row, : len(piece)] = list(piece)
        longest_first = np.argsort(-lengths, kind="stable")
        counts = [int((lengths > column).sum()) for column in range(matrix.shape[1])]
        return matrix, longest_first, counts


def _bytes_by_character() -> dict[str, int]:
    """Return the byte that each character of a byte-level token stands for.

    Printable bytes stand for themselves, the others for the characters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }
