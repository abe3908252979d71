"""Walking a grammar along an answer that is known, as a model that is never wrong would."""

from collections.abc import Iterator, Sequence
from functools import cache

import torch

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import RecordObject
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.growing_answer import Choice, Row
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.inference.decode.trie import Slot, Text
from coordexp.inference.decode.walk import AllowedTokens
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.encode import IGNORE_INDEX, Encoder, Example


class NotAllowedError(Exception):
    """The grammar does not let the answer through."""


def empty_prompt() -> Example:
    return Example(
        input_ids=torch.tensor([0, 0]),
        labels=torch.tensor([IGNORE_INDEX] * 2),
        position_ids=torch.arange(2).expand(3, -1),
        pixel_values=torch.zeros(0, 1),
        image_grid_thw=torch.zeros(0, 3, dtype=torch.long),
    )


def answer_ids(speaker: Encoder, objects: Sequence[RecordObject]) -> list[int]:
    """Return the tokens that training would teach."""
    text = render_answer(
        objects,
        1,
        1,
        alphabet=SPEC_ALPHABET,
        json_format=speaker.style.json_format,
        coord_tokens=True,
    )
    ids: list[int] = speaker.tokenizer.encode(
        text + speaker.conversation.end_of_turn, add_special_tokens=False
    )
    return ids


def follow(
    grammar: AnswerGrammar,
    ids: Sequence[int],
    *,
    jump: bool = True,
    stop: RepeatStop | None = None,
) -> Row:
    """Return the row after it has said exactly the ids, end of turn included, or was stopped."""
    row = Row(grammar, empty_prompt(), jump=jump, ordered=True, limit=100_000, stop=stop)
    allowed = _allowed(grammar)
    while not row.done:
        if len(row.ids) >= len(ids):
            raise ValueError("the answer is over, and the grammar has let it through")
        row.settle(iter(list(_choices(row, grammar, allowed, ids))))
        if not row.is_looping and row.ids != list(ids[: len(row.ids)]):
            raise NotAllowedError(f"said {row.ids}, expected {list(ids)}")
    return row


@cache
def _allowed(grammar: AnswerGrammar) -> AllowedTokens:
    return AllowedTokens(grammar, len(grammar.bytes.pieces))


def _choices(
    row: Row, grammar: AnswerGrammar, allowed: AllowedTokens, ids: Sequence[int]
) -> Iterator[Choice]:
    said = len(row.ids)
    for place, node in row.asks():
        # Behind a guess that is wrong already, or a forced token that is, anything will do.
        token_id = next(iter(node.children or grammar.closers))
        if list(row.feed[1 : 1 + place]) == list(ids[said : said + place]):
            token_id = ids[min(said + place, len(ids) - 1)]
            match node.leaf:
                case Slot() as slot:
                    least = grammar.first_id + row.walk.lowest_bin(slot)
                    fits = least <= token_id < grammar.first_id + 1000
                case Text() as text:
                    fits = bool(allowed.mask(row.walk.text_state(text), closing=False)[token_id])
                case _:
                    fits = token_id in node.options
            if not fits:
                raise NotAllowedError(f"token {place + said}: {token_id}")
        logits = torch.zeros(1) if isinstance(node.leaf, Slot) else None
        yield Choice(token_id, 1.0, logits)
