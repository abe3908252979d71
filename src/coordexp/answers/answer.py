"""What a model answered, with how probable each token was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from coordexp.answers.belief import CoordBelief

FinishReason = Literal["eos", "length", "repeats"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote.

    Args:
        text: Special tokens kept, without the end of the turn.
        pieces: The text of each token, in order; they join to `text`.
        probabilities: Of each token: of a coord token the mass around it, of any other its own.
        finish_reason: `length` when the answer was cut off, `repeats` when it was ended because it
            said nothing new.
        beliefs: About the coord tokens among them, by their place.
        passes: How often the model was run for it.
        coord_log_p: Log probabilities of all bins at the coord tokens, by their place; only where
            whoever asked wants to pass them on.
    """

    text: str
    pieces: tuple[str, ...]
    probabilities: tuple[float, ...]
    finish_reason: FinishReason
    beliefs: Mapping[int, CoordBelief] = field(default_factory=dict)
    passes: int = 0
    coord_log_p: Mapping[int, Sequence[float]] = field(default_factory=dict)


def with_masses(
    probabilities: Sequence[float], beliefs: Mapping[int, CoordBelief]
) -> tuple[float, ...]:
    """Return the probabilities with those of coord tokens replaced by the mass around them."""
    return tuple(
        beliefs[place].mass if place in beliefs else p for place, p in enumerate(probabilities)
    )
