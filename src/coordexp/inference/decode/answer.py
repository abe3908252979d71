"""What a model answered, with how probable each token was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from coordexp.inference.decode.beliefs import CoordBelief
from coordexp.rendering.encode import Encoder

FinishReason = Literal["eos", "length"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote.

    Args:
        text: Special tokens kept, without the end of the turn.
        pieces: The text of each token, in order; they join to `text`.
        probabilities: Of each token: of a coord token the mass around it, of any other its own.
        finish_reason: `length` when the answer was cut off.
        beliefs: About the coord tokens among them, by their place.
        passes: How often the model was run for it.
    """

    text: str
    pieces: tuple[str, ...]
    probabilities: tuple[float, ...]
    finish_reason: FinishReason
    beliefs: Mapping[int, CoordBelief] = field(default_factory=dict)
    passes: int = 0


def with_masses(
    probabilities: Sequence[float], beliefs: Mapping[int, CoordBelief]
) -> tuple[float, ...]:
    """Return the probabilities with those of coord tokens replaced by the mass around them."""
    return tuple(
        beliefs[place].mass if place in beliefs else p for place, p in enumerate(probabilities)
    )


def text_pieces(encoder: Encoder, ids: Sequence[int]) -> tuple[str, ...]:
    """Return the text of each token; the pieces join to the text of all.

    A character that is spread over several tokens belongs to the last of them, and so do bytes that
    form no character to the next token that ends with one.
    """
    pieces = []
    waiting: list[int] = []
    for index, token_id in enumerate(ids):
        waiting.append(token_id)
        piece = cast(
            str,
            encoder.tokenizer.decode(
                waiting, skip_special_tokens=False, clean_up_tokenization_spaces=False
            ),
        )
        # U+FFFD at the end: the bytes so far may be the beginning of a character.
        if piece.endswith("\ufffd") and index + 1 < len(ids):
            pieces.append("")
        else:
            pieces.append(piece)
            waiting = []
    return tuple(pieces)
