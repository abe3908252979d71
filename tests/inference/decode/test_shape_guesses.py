"""Guesses of a box or point change no answer, whatever the model is like."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.growing_answer import Choice, Row
from coordexp.inference.decode.shape_guesses import with_shape
from coordexp.inference.decode.trie import Node, Slot
from coordexp.inference.decode.walk import GrammarWalk
from coordexp.rendering.encode import Encoder
from tests.inference.oracle import empty_prompt

Says = Callable[[Sequence[int], Node], int]
"""A model: the tokens so far and what may come next, in options or bins, to one of these."""

BOXES = 4


@pytest.fixture(scope="module")
def grammar(speaker: Encoder) -> AnswerGrammar:
    return AnswerGrammar(speaker, restrict_to=("cat", "black dog"))


def answered(grammar: AnswerGrammar, says: Says, *, jump: bool, limit: int = 150) -> Row:
    """Return what a model says that looks at all tokens before a place, right or wrong."""
    row = Row(grammar, empty_prompt(), jump=jump, ordered=True, limit=limit, stop=None)
    while not row.done:
        choices = []
        for place, node in list(row.asks()):
            before, bin_said = (*row.ids, *row.feed[1 : 1 + place]), None
            if isinstance(node.leaf, Slot):
                bin_said = says(before, node)
                token_id = grammar.first_id + max(row.walk.lowest_bin(node.leaf), bin_said)
            elif row.is_closing(place) and node.stop is not None:
                token_id = node.stop
            else:
                token_id = node.options[says(before, node)]
            choices.append(Choice(token_id, 1.0, likeliest_bin=bin_said))
        row.settle(iter(choices))
    return row


def moody(seed: int) -> Says:
    """Return a model that says something else after every other token before."""

    def says(before: Sequence[int], node: Node) -> int:
        dice = random.Random(f"{seed} {before}")
        return dice.randrange(1000 if isinstance(node.leaf, Slot) else len(node.options))

    return says


def boxes_at(bin_of: Callable[[Sequence[int]], int], first_id: int) -> Says:
    """Return a model of so many boxes, whose bins follow from the bins before."""

    def says(before: Sequence[int], node: Node) -> int:
        bins = [token_id - first_id for token_id in before if token_id >= first_id]
        if isinstance(node.leaf, Slot):
            return bin_of(bins)
        return int(node.stop is not None and len(bins) >= 4 * BOXES)

    return says


@given(seed=st.integers(0, 1 << 32), limit=st.sampled_from([1, 40, 150]))
@settings(max_examples=60)
def test_the_answer_is_the_one_without_guesses(
    grammar: AnswerGrammar, seed: int, limit: int
) -> None:
    """Boxes, outlines, lines and points, and where an answer grows too long."""
    guessed = answered(grammar, moody(seed), jump=True, limit=limit)
    alone = answered(grammar, moody(seed), jump=False, limit=limit)
    assert guessed.ids == alone.ids
    assert guessed.is_cut == alone.is_cut
    assert guessed.length <= len(guessed.ids) + 1


def passes(grammar: AnswerGrammar, bin_of: Callable[[Sequence[int]], int]) -> int:
    says = boxes_at(bin_of, grammar.first_id)
    row = answered(grammar, says, jump=True)
    assert row.ids == answered(grammar, says, jump=False).ids
    assert sum(token_id >= grammar.first_id for token_id in row.ids) == 4 * BOXES
    return row.passes


def test_a_box_takes_two_passes_at_best_and_at_the_worst_as_many_as_without(
    grammar: AnswerGrammar, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_place = passes(grammar, lambda bins: 100 * (1 + len(bins) % 4))
    always_wrong = passes(grammar, lambda bins: (7 * sum(bins) + 31 * len(bins) + 5) % 1000)
    monkeypatch.setattr("coordexp.inference.decode.growing_answer.with_shape", lambda run, *_: run)
    without = passes(grammar, lambda bins: 100 * (1 + len(bins) % 4))
    assert without - by_place == 3 * BOXES
    assert always_wrong <= without


def slots_of(grammar: AnswerGrammar, walk: GrammarWalk, guess: list[int] | None) -> list[int]:
    run = with_shape(walk.node.run(), walk, grammar, guess)
    return [token_id - grammar.first_id for token_id in run.ids if token_id >= grammar.first_id]


def test_nothing_known_is_guessed_evenly_and_a_second_corner_behind_the_first(
    grammar: AnswerGrammar,
) -> None:
    walk = GrammarWalk(grammar, ordered=True)
    before = grammar.after(0, "bbox_2d", 4)
    walk.enter(next(node for node in reachable(before) if node.leaf == Slot("bbox_2d")))
    assert slots_of(grammar, walk, None) == [333, 333, 666]
    walk.take(grammar.first_id + 700)
    assert slots_of(grammar, walk, None) == [333, 700]
    assert slots_of(grammar, walk, [20, 30, 10]) == [20, 700, 20]
    walk.ordered = False
    assert slots_of(grammar, walk, [20, 30, 10]) == [20, 30, 10]
    walk.enter(next(node for node in reachable(before) if node.leaf == Slot("point_2d")))
    assert slots_of(grammar, walk, None) == [500]
    walk.enter(next(node for node in reachable(before) if node.leaf == Slot("poly")))
    assert slots_of(grammar, walk, None) == []


def reachable(node: Node) -> list[Node]:
    """Return a node and those behind it."""
    return [node, *(each for child in node.children.values() for each in reachable(child))]
