"""The codec under its public names, in the specification's alphabet unless another is given.

Inside the project every function takes the alphabet: one that is forgotten there would be the
specification's in silence. Who imports `coordexp` means it.
"""

from collections.abc import Iterable

from coordexp.coord_tokens import codec
from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet


def is_coord_token(text: str, alphabet: CoordAlphabet = SPEC_ALPHABET) -> bool:
    """Return whether `text` is exactly one coord token.

    Example:
        >>> is_coord_token("<|coord_999|>"), is_coord_token("<|coord_*|>")
        (True, False)
    """
    return codec.is_coord_token(text, alphabet)


def token_to_int(token: str, alphabet: CoordAlphabet = SPEC_ALPHABET) -> int:
    """Return the bin that a coord token spells.

    Raises:
        RecordError: If it is no coord token of the alphabet.

    Example:
        >>> token_to_int("<|coord_12|>")
        12
    """
    return codec.token_to_int(token, alphabet)


def ints_to_tokens(bins: Iterable[int], alphabet: CoordAlphabet = SPEC_ALPHABET) -> tuple[str, ...]:
    """Return the coord tokens of several bins.

    Raises:
        RecordError: If one is no whole number, or out of range.

    Example:
        >>> ints_to_tokens([0, 999])
        ('<|coord_0|>', '<|coord_999|>')
    """
    return codec.ints_to_tokens(bins, alphabet)
