"""The text of each token of an answer."""

from collections.abc import Sequence
from typing import cast

from coordexp.rendering.encode import Encoder


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
