"""The rest of a box or point, guessed: fewer passes than coordinates, and the same answer.

A coordinate depends little on how exactly the ones before it were said. So a pass reads a whole box
of guesses, and what the model answers at each of its places is the guess of the next pass (Jacobi's
iteration). What stands behind right guesses is what the model would have said one by one, and is
kept; the first pass guesses the middle of the picture, from which the second corner is often read
rightly already. At the worst every pass makes one coordinate certain, as without guesses::

    reads     [" 333 ", " 333 ", " 666 ", "        says 120, 88, 402, 365: the first is certain
    reads     120 ", " 88 ", " 402 ", " 365 "]}    says 88, 402, 371: three are, and a new guess
    reads     371 "]}, ...                         says what comes after the box

Santilli et al., Accelerating Transformer Inference for Translation via Parallel Decoding (2023).
"""

from collections.abc import Sequence

from coordexp.data.contract.geometry_kinds import KINDS
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.trie import Node, Run, Slot
from coordexp.inference.decode.walk import GrammarWalk

_CORNER = 2  # values


def with_shape(
    run: Run, walk: GrammarWalk, grammar: AnswerGrammar, guess: Sequence[int] | None
) -> Run:
    """Return a run that goes on over what is missing of a box or point, if it leads to one.

    Args:
        run: From where the answer stands.
        walk: That place.
        grammar: What may be said.
        guess: Bins for what is missing; None where nothing is known of it.
    """
    slot = run.end.leaf
    if not isinstance(slot, Slot):
        return run
    kind, begins = slot.kind or walk.kind, slot.kind is not None
    points = KINDS[kind].most_points
    if points is None or points != KINDS[kind].least_points:
        return run
    is_ordered = walk.ordered and KINDS[kind].form == "corners"
    bins = [] if begins else [*walk.bins]
    ahead = iter(_evenly(points, grammar.num_bins)[len(bins) :] if guess is None else guess)
    ids, guesses = [*run.ids], [*run.guesses]
    while True:
        least = bins[-_CORNER] if is_ordered and len(bins) >= _CORNER else 0
        node = Node()
        node.leaf = Slot(None if bins else kind, least)
        if guess is None and len(bins) == 2 * points - 1:  # nothing behind it could be kept
            return Run(tuple(ids), tuple(guesses), node)
        guesses.append((len(ids), node))
        bins.append(max(next(ahead), least))
        ids.append(grammar.first_id + bins[-1])
        after = grammar.after(walk.number + begins, kind, len(bins)).run()
        guesses += [(len(ids) + place, choice) for place, choice in after.guesses]
        ids += after.ids
        if len(bins) == 2 * points:
            return Run(tuple(ids), tuple(guesses), after.end)


def _evenly(points: int, num_bins: int) -> list[int]:
    return [place * num_bins // (points + 1) for place in range(1, points + 1) for _ in "xy"]
