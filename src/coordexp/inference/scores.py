"""Box scores from the probabilities of the answer's own tokens.

- `score` = `desc` x `coord`
- `desc`: product of the probabilities of the desc's tokens.
- `coord`: geometric mean over the coordinates of each one's confidence: the mass around a coord
  token, or the product over the digits of a plain integer.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from coordexp.inference.generate import Answer
from coordexp.inference.parse import ParsedObject

Span = tuple[int, int]


class TokenSpans:
    """Finds the tokens that make up a stretch of an answer's text."""

    def __init__(self, answer: Answer) -> None:
        ends = list(accumulate(len(piece) for piece in answer.pieces))
        self._starts = [0, *ends[:-1]]
        # A token without text of its own is a part of the next character.
        for index in reversed(range(len(ends) - 1)):
            if not answer.pieces[index]:
                ends[index] = ends[index + 1]
        self._ends = ends
        self._probabilities = answer.probabilities

    def log_probability(self, span: Span) -> float:
        """Return the summed log probability of every token that overlaps `[start, end)`."""
        first = bisect_right(self._ends, span[0])
        last = bisect_left(self._starts, span[1])
        tiny = math.ulp(0.0)
        return sum(math.log(max(p, tiny)) for p in self._probabilities[first:last])


def score_parts(spans: TokenSpans, item: ParsedObject) -> dict[str, float]:
    """Return `coord` and `desc`, each in 0..1."""
    coords: Sequence[float] = [spans.log_probability(span) for span in item.coord_spans]
    return {
        "coord": math.exp(sum(coords) / len(coords)),
        "desc": math.exp(spans.log_probability(item.desc_span)),
    }


def score(parts: dict[str, float]) -> float:
    """Return the score of an object."""
    return parts["coord"] * parts["desc"]
