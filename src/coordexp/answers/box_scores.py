"""Box scores from the probabilities of the answer's own tokens.

- `score` = `another` x `desc` x `coord`: there is one more object, it is this, and it is here.
- `another`: that the list went on instead of ending; the product over the structure tokens between
  the end of the object before and the desc, or the coordinates where these come first. It falls
  where a list presses to its end.
- `desc`: product of the probabilities of the desc's tokens.
- `coord`: geometric mean over the coordinates of each one's confidence: the mass around a coord
  token, or the product over the digits of a plain integer.
- `entropy`: mean over the coord tokens, in nats. It is not in the score: it orders boxes as the
  mass does, and what is sharp depends on the width that was taught.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import accumulate

from coordexp.answers.answer import Answer
from coordexp.answers.belief import CoordBelief
from coordexp.answers.parse import ParsedObject

Span = tuple[int, int]
_STRUCTURE = '{}[]", \t\r\n'


class AnswerTokens:
    """Finds the tokens that make up a stretch of an answer's text."""

    def __init__(self, answer: Answer) -> None:
        ends = list(accumulate(len(piece) for piece in answer.pieces))
        self._starts = [0, *ends[:-1]]
        # A token without text of its own is a part of the next character.
        for index in reversed(range(len(ends) - 1)):
            if not answer.pieces[index]:
                ends[index] = ends[index + 1]
        self._ends = ends
        self._text = answer.text
        self._probabilities = answer.probabilities
        self._beliefs = answer.beliefs

    def log_probability(self, span: Span) -> float:
        """Return the summed log probability of every token that overlaps `[start, end)`."""
        first = bisect_right(self._ends, span[0])
        last = bisect_left(self._starts, span[1])
        tiny = math.ulp(0.0)
        return sum(math.log(max(p, tiny)) for p in self._probabilities[first:last])

    def lead(self, item: ParsedObject) -> int:
        """Return where the structure before an object begins, after what was said last."""
        start = item.span[0]
        while start and self._text[start - 1] in _STRUCTURE:
            start -= 1
        return start

    def belief(self, span: Span) -> CoordBelief | None:
        """Return the belief about the coord token at a span, None where there is none."""
        return self._beliefs.get(bisect_right(self._ends, span[0]))


def score_parts(tokens: AnswerTokens, item: ParsedObject) -> dict[str, float]:
    """Return the parts of an object's score; `entropy` in nats, only where there are coord tokens.

    The others are probabilities.
    """
    coords = [tokens.log_probability(span) for span in item.coord_spans]
    parts = {
        "coord": math.exp(sum(coords) / len(coords)),
        "desc": math.exp(tokens.log_probability(item.desc_span)),
        "another": math.exp(tokens.log_probability((tokens.lead(item), _first(item)))),
    }
    beliefs = [tokens.belief(span) for span in item.coord_spans]
    entropies = [belief.entropy for belief in beliefs if belief is not None]
    if entropies:
        parts["entropy"] = sum(entropies) / len(entropies)
    return parts


def _first(item: ParsedObject) -> int:
    """Return where an object's content begins; a stock model's boxes stand before its words."""
    return min(item.desc_span[0], item.coord_spans[0][0])


def score(parts: Mapping[str, float]) -> float:
    """Return the score of an object."""
    return parts["coord"] * parts["desc"] * parts["another"]
