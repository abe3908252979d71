r"""The assistant's JSON as a grammar over token ids.

Texts between two coord tokens are tokenised on their own, because coord tokens are special. So an
answer is made of these pieces, each a small trie of the ids that the tokenizer itself would give::

    start   {"object_1": {"desc   |  {}
    open    ": "                  and the desc's first characters where they share a token with it
    text    black cat             any tokens, see `json_bytes`
    close   ", "bbox_2d": ["      |  poly  |  ...; with the desc's last characters: `)",`
    sep     ", "
    finish  "]}, "object_2": {"desc  |  "]}}

Which tokens straddle a quote is found once, by tokenising the texts with every piece of the
vocabulary that could stand next to it. Restricted to a list of
descs, `open` to `close` is one trie.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Literal

from coordexp.answers.class_filter import check_names
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.inference.decode.json_bytes import PLAIN, TokenBytes, after_bytes, is_visible
from coordexp.inference.decode.trie import End, Leaf, Node, Slot, Text
from coordexp.rendering.dense_json import SEPARATORS
from coordexp.rendering.encode import Encoder

_DESC = '{"desc'  # the tokenizer begins anew after the name of a key


class AnswerGrammar:
    """What an answer may be, for one tokenizer and style.

    Args:
        encoder: With coord tokens in its tokenizer.
        restrict_to: The only descs there may be; None for free text.

    Raises:
        InputError: If such a desc is empty, given twice, or not in NFC as the tokenizer has it.
        CheckpointError: If the tokenizer is no byte-level BPE.
    """

    def __init__(self, encoder: Encoder, *, restrict_to: Sequence[str] | None) -> None:
        self._tokenizer = encoder.tokenizer
        self._end_id = encoder.end_of_turn_id
        self._comma, self._colon = SEPARATORS[encoder.style.json_format]
        self.bytes = TokenBytes(encoder.tokenizer)
        self.first_id = self._ids(encoder.style.alphabet.token(0))[0]
        self.num_bins = encoder.style.alphabet.bins
        self._open_text = f'"{self._colon}"'
        openers = dict(self._openers())
        if restrict_to is not None:
            openers = dict(self._desc_runs(restrict_to))
        plain = tuple(self._ids(_DESC + self._open_text))
        shared = _shared_length([plain, *openers])
        self._tail = plain[shared:]
        self._opened = Node(likely=restrict_to is None)
        for ids, leaf in openers.items():
            self._opened.insert(ids[shared:], leaf)
        self.after = cache(self._after)

    @cached_property
    def start(self) -> Node:
        """Where an answer begins."""
        node = Node()
        node.insert(self._head("{", 1), self._opened)
        node.insert([*self._ids("{}"), self._end_id], End(), stops=True)
        return node

    @cached_property
    def end_ids(self) -> Sequence[int]:
        """The ids that end an answer after an object's last coordinate."""
        return (*self._ids('"]}}'), self._end_id)

    @cached_property
    def closers(self) -> Mapping[int, tuple[bytes, Node]]:
        """The tokens that end free text: what they still add to it, and what follows."""
        return dict(self._closers())

    def _after(self, number: int, kind: GeometryKind, count: int) -> Node:
        """Return what follows the `count`-th coordinate of object `number`."""
        node = Node()
        rules = KINDS[kind]
        if not rules.is_full(count):
            node.insert(self._ids(f'"{self._comma}"'), Slot(kind=None))
        if rules.is_whole(count):
            node.insert(self._head(f'"]}}{self._comma}', number + 1), self._opened)
            node.insert(self.end_ids, End(), stops=True)
        return node

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def _exact_ids(self, text: str) -> list[int]:
        """Return the ids of a text, which the tokenizer may have normalised before."""
        ids = self._ids(text)
        if b"".join(self.bytes.pieces[token_id] for token_id in ids) != text.encode():
            raise AssertionError(f"the tokenizer changes {text!r}")
        return ids

    def _head(self, before: str, number: int) -> list[int]:
        """Return the ids up to an object's desc, but for those that depend on the desc."""
        text = f'{before}"object_{number}"{self._colon}{_DESC}{self._open_text}'
        ids = self._ids(text)
        if tuple(ids[len(ids) - len(self._tail) :]) != self._tail:
            raise AssertionError(f"the tokenizer does not begin anew after 'desc' in {text!r}")
        return ids[: len(ids) - len(self._tail)]

    def _close_text(self, kind: GeometryKind) -> str:
        return f'"{self._comma}"{kind}"{self._colon}["'

    def _openers(self) -> Iterator[tuple[tuple[int, ...], Leaf]]:
        """Yield how a desc can begin: the ids from `_DESC` on, the plain ones first."""
        opened = (_DESC + self._open_text).encode()
        # What follows decides how a piece is cut: its end, or a word.
        begins = [(piece, after) for piece in self._neighbours(side="begin") for after in ("", "a")]
        for piece, after in begins:
            ids = self._answer_ids(piece + after, GEOMETRY_KINDS[0])
            size, count = 0, 0
            while size < len(opened):
                size, count = size + len(self.bytes.pieces[ids[count]]), count + 1
            start = piece.encode()[: size - len(opened)]
            if size <= len(opened) + len(piece.encode()):
                yield tuple(ids[:count]), Text(start)
            elif not after and is_visible(start):  # one token holds the desc and both its quotes
                for kind in GEOMETRY_KINDS:
                    yield tuple(self._answer_ids(piece, kind)), Slot(kind)

    def _answer_ids(self, desc: str, kind: GeometryKind) -> list[int]:
        return self._exact_ids(_DESC + self._open_text + desc + self._close_text(kind))

    def _desc_runs(self, names: Sequence[str]) -> Iterator[tuple[tuple[int, ...], Leaf]]:
        check_names(names)
        for name in names:
            desc = json.dumps(name, ensure_ascii=False)[1:-1]
            for kind in GEOMETRY_KINDS:
                yield tuple(self._answer_ids(desc, kind)), Slot(kind)

    def _closers(self) -> Iterator[tuple[int, tuple[bytes, Node]]]:
        found: dict[int, tuple[bytes, str]] = {}
        for piece in self._neighbours(side="end"):
            token_id, begin, _ = self._closer_after(piece, GEOMETRY_KINDS[0])
            found.setdefault(token_id, (begin, piece))
        for token_id, (begin, piece) in found.items():
            node = Node()
            for kind in GEOMETRY_KINDS:
                closer, _, rest = self._closer_after(piece, kind)
                if closer == token_id:
                    node.insert(rest, Slot(kind))
            yield token_id, (begin, node)

    def _closer_after(self, piece: str, kind: GeometryKind) -> tuple[int, bytes, list[int]]:
        """Return the token with the quote after a desc's end, its bytes before it, and the rest."""
        desc = ("a" + piece).encode()
        ids = self._exact_ids("a" + piece + self._close_text(kind))
        size, index = 0, 0
        while size + len(self.bytes.pieces[ids[index]]) <= len(desc):
            size += len(self.bytes.pieces[ids[index]])
            index += 1
        return ids[index], desc[size:], ids[index + 1 :]

    def _neighbours(self, *, side: Literal["begin", "end"]) -> Sequence[str]:
        """Return what might share a token with a quote before its beginning or after its end.

        Letters and digits never do: every byte-level BPE in use splits words from punctuation
        first. So only what a piece of the vocabulary has before its first one, or after its last,
        is looked at, and what pieces with a quote have on that side of it.
        """
        found: dict[str, None] = {}
        for piece in self._stretches(side=side):
            text = piece.decode("utf-8", errors="ignore")
            if text.encode() == piece and unicodedata.is_normalized("NFC", f"a{text}"):
                text = _without_words(text if side == "begin" else text[::-1])
                found[text if side == "begin" else text[::-1]] = None
        found.pop("", None)
        return ["", *found]

    def _stretches(self, *, side: Literal["begin", "end"]) -> Iterator[bytes]:
        """Yield the pieces that a desc may hold, and those of others behind or before a quote."""
        allowed = self.bytes.after(PLAIN) >= 0
        for piece, is_allowed in zip(self.bytes.pieces, allowed.tolist(), strict=False):
            if is_allowed:
                yield piece
            elif b'"' in piece:
                parts = piece.split(b'"')
                for part in parts[1:] if side == "begin" else parts[:-1]:
                    if after_bytes(PLAIN, part) == PLAIN:
                        yield part


def _without_words(text: str) -> str:
    """Return what stands before the first letter or digit."""
    end = next((index for index, char in enumerate(text) if char.isalnum()), len(text))
    return text[:end]


def _shared_length(runs: Sequence[tuple[int, ...]]) -> int:
    """Return how many ids all the runs begin with."""
    length = min(map(len, runs)) - 1  # something is left, even where all agree
    while any(run[:length] != runs[0][:length] for run in runs):
        length -= 1
    return length
