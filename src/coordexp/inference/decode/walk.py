"""Where one answer stands in the grammar."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.json_bytes import PLAIN, after_bytes, is_visible
from coordexp.inference.decode.trie import Node, Slot, Text

TextState = tuple[int, bytes | None]
"""The automaton's state, and the text as long as there is nothing to see in it."""


class GrammarWalk:
    """An answer so far.

    Args:
        grammar: What may be said.
        ordered: Whether a second corner may be no smaller than the first.
    """

    def __init__(self, grammar: AnswerGrammar, *, ordered: bool) -> None:
        self._grammar = grammar
        self.ordered = ordered
        self.number = 0  # of the object whose coordinates were begun last
        self.kind: GeometryKind = GEOMETRY_KINDS[0]  # of its geometry
        self.bins: list[int] = []  # of it so far
        self._text = b""
        self._state = PLAIN
        self._visible = False
        self.node = grammar.start

    def enter(self, node: Node) -> None:
        """Go on to a node that is known to come next."""
        self.node = node
        match node.leaf:
            case Text(start):
                self._text = b""
                self._state, self._visible = PLAIN, False
                self._write(start)
            case Slot(kind) if kind is not None:
                self.kind, self.bins = kind, []
                self.number += 1

    def take(self, token_id: int) -> None:
        """Go on by one token, which must be allowed."""
        match self.node.leaf:
            case Slot():
                self.bins.append(token_id - self._grammar.first_id)
                self.enter(self._grammar.after(self.number, self.kind, len(self.bins)))
            case Text() if self._grammar.bytes.after(self._state)[token_id] >= 0:
                self._write(self._grammar.bytes.pieces[token_id])
            case Text():
                self.enter(self._grammar.closers[token_id][1])
            case _:
                self.enter(self.node.children[token_id])

    def _write(self, piece: bytes) -> None:
        self._text += piece
        self._state = after_bytes(self._state, piece)
        self._visible = self._visible or is_visible(self._text)

    def lowest_bin(self, slot: Slot) -> int:
        """Return the least bin that the coordinate at a slot ahead may have."""
        if slot.least is not None:
            return slot.least
        is_corner = slot.kind is None and KINDS[self.kind].form == "corners"
        is_second = is_corner and len(self.bins) >= 2  # noqa: PLR2004
        return self.bins[-2] if self.ordered and is_second else 0

    def text_state(self, text: Text) -> TextState:
        """Return the state of the free text at a node ahead, or of the one being written."""
        if self.node.leaf is text:
            return self._state, None if self._visible else self._text
        return _fresh_state(text.start)


@cache
def _fresh_state(start: bytes) -> TextState:
    return after_bytes(PLAIN, start), None if is_visible(start) else start


class AllowedTokens:
    """Which tokens may go on with free text, by the state it is in.

    Args:
        grammar: What may be said.
        vocab_size: Rows of the model's head; more than the tokenizer has ids, often.
    """

    def __init__(self, grammar: AnswerGrammar, vocab_size: int) -> None:
        self._grammar = grammar
        self._vocab_size = vocab_size
        self.mask = cache(self._mask)

    def _mask(self, text_state: TextState, *, closing: bool) -> NDArray[np.bool_]:
        """Return a flag for every row of the head.

        A desc ends only when there is something to see in it. `closing` leaves only the tokens that
        end it, where one of them can come next.
        """
        state, unseen = text_state
        after = self._grammar.bytes.after(state)
        closers = np.zeros(self._vocab_size, dtype=np.bool_)
        for token_id, (begin, _) in self._grammar.closers.items():
            seen = unseen is None or is_visible(unseen + begin)
            ends = seen and after_bytes(state, begin) == PLAIN
            closers[token_id] = ends and after[token_id] < 0
        if closing and closers.any():
            return closers
        closers[: len(after)] |= after >= 0
        return closers
