"""Text that a tokenizer would read as one of its special tokens: `<|im_end|>`, `<|image_pad|>`.

In an answer it would end the turn, in a prompt it would stand for a picture that is not there. Most
families spell all their special tokens alike, and every text of that spelling is refused, whether a
tokenizer knows it or not: the rule needs no tokenizer, so reading, checking and training share it,
and records outlive the base they were written for. A tokenizer with tokens of another spelling is
asked as well, by `coordexp.rendering.encode`.
"""

import re
from collections.abc import Iterator

from coordexp.coord_tokens.codec import CoordAlphabet, is_coord_token
from coordexp.data.contract.faults import Fault
from coordexp.data.contract.rules import SPECIAL_TOKEN

SPECIAL_START = "<|"
_SPELLED = re.compile(r"<\|[^\s<>|]+\|>")


def special_token_in(text: str, alphabet: CoordAlphabet) -> str | None:
    """Return the first special token in a text, None where there is none.

    Args:
        text: Of a desc, a prompt or a message.
        alphabet: Of the coord tokens, which are no special tokens here.

    Example:
        >>> from coordexp.coord_tokens.codec import SPEC_ALPHABET
        >>> special_token_in("<|coord_7|> is a bin, <|im_end|> is not", SPEC_ALPHABET)
        '<|im_end|>'
    """
    if SPECIAL_START not in text:
        return None
    found = (match.group() for match in _SPELLED.finditer(text))
    return next(
        (
            token
            for token in found
            if not is_coord_token(token, alphabet) and token != alphabet.wildcard
        ),
        None,
    )


def special_token_faults(key: str, text: str, alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield a fault where a text holds a special token; it names the first."""
    token = special_token_in(text, alphabet)
    if token is not None:
        message = f"{key}: holds the special token {token}; write it in other words"
        yield Fault(SPECIAL_TOKEN, message)
