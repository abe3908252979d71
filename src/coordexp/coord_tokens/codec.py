"""Pixels, bins and coord tokens.

A *bin* is an integer 0..bins-1 on one axis, a *coord token* its spelling. Pixel edges are
continuous in `[0, size]`, so that both borders of an image have a bin of their own::

    pixel   0 ----------------------- size
    bin     0 ---------------------- bins-1        bin = round(x / size * (bins - 1)), half up

The error of one round trip is at most `size / (2 * (bins - 1))` pixels. The conventions of stock
models (`coordexp.families.boxes`), text numbers, are others; they never mix.
"""

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from numbers import Real
from types import MappingProxyType

from typing_extensions import override

from coordexp.errors import RecordError

_PLAIN_NUMBERS = frozenset((int, float))  # and no bool, which is a kind of int


@dataclass(frozen=True, slots=True)
class CoordAlphabet:
    """How many bins an axis has, and how a bin is spelled.

    Args:
        pattern: A format string with one field for the bin; `<loc{:04d}>` is PaliGemma's.
        bins: Number of bins on one axis.
        wildcard: The token that stands for any coordinate; it gets the id before bin 0. None for
            vocabularies without one.

    Raises:
        ValueError: If there are fewer than two bins, or the pattern spells two of them alike
            or needs escapes in JSON.

    Example:
        >>> CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None).token(7)
        '<loc0007>'
    """

    pattern: str = "<|coord_{}|>"
    bins: int = 1000
    wildcard: str | None = "<|coord_*|>"

    def __post_init__(self) -> None:
        if self.bins < 2:  # noqa: PLR2004 - an axis needs both its borders
            raise ValueError(f"an axis needs at least 2 bins, got {self.bins}")
        try:
            spellings = set(map(self.pattern.format, range(self.bins)))
        except (AttributeError, LookupError, ValueError) as error:
            message = f"the pattern {self.pattern!r} needs one field for the bin: {error}"
            raise ValueError(message) from None
        if len(spellings) != self.bins or "" in spellings:
            raise ValueError(f"the pattern {self.pattern!r} does not spell each bin differently")
        if any(char in '"\\' or char < " " for char in "".join(spellings)):
            raise ValueError(f"the pattern {self.pattern!r} holds characters that JSON escapes")

    @override
    def __str__(self) -> str:
        """Return the first and the last coord token, for messages."""
        return f"{self.token(0)} .. {self.token(self.bins - 1)}"

    def is_same(self, other: "CoordAlphabet") -> bool:
        """Return whether both spell the same bins alike; the wildcard is no bin."""
        return self.tokens() == other.tokens()

    def token(self, k: int) -> str:
        """Return the spelling of bin `k`, unchecked."""
        return self.pattern.format(k)

    def tokens(self) -> tuple[str, ...]:
        """Return every coord token in bin order."""
        return tuple(_bins_by_token(self))


SPEC_ALPHABET = CoordAlphabet()


@cache
def _bins_by_token(alphabet: CoordAlphabet) -> Mapping[str, int]:
    return MappingProxyType({alphabet.token(k): k for k in range(alphabet.bins)})


@cache
def _any_token(alphabet: CoordAlphabet) -> re.Pattern[str]:
    spellings = list(alphabet.tokens())
    if alphabet.wildcard:
        spellings.append(alphabet.wildcard)
    return re.compile("|".join(map(re.escape, spellings)))


@cache
def common_spelling(alphabet: CoordAlphabet) -> str:
    """Return what every coord token, and the wildcard, begins with; it may be empty.

    A text without it holds no coord token, which is quickly seen.

    Example:
        >>> common_spelling(SPEC_ALPHABET)
        '<|coord_'
    """
    spellings = [*alphabet.tokens(), *([alphabet.wildcard] if alphabet.wildcard else [])]
    first, last = min(spellings), max(spellings)  # what these two share, all do
    pairs = zip(first, last, strict=False)
    return first[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


def is_coord_token(text: str, alphabet: CoordAlphabet) -> bool:
    """Return whether `text` is exactly one coord token.

    Example:
        >>> is_coord_token("<|coord_999|>", SPEC_ALPHABET)
        True
        >>> [is_coord_token(text, SPEC_ALPHABET) for text in ("<|coord_1000|>", "<|coord_*|>")]
        [False, False]
    """
    return text in _bins_by_token(alphabet)


def contains_coord_token(text: str, alphabet: CoordAlphabet) -> bool:
    """Return whether a coord token, or the wildcard, stands anywhere in `text`.

    A tokenizer turns such a piece of text into the coord id, whatever surrounds it.

    Example:
        >>> contains_coord_token("left of <|coord_5|>", SPEC_ALPHABET)
        True
    """
    if common_spelling(alphabet) not in text:
        return False
    return _any_token(alphabet).search(text) is not None


def token_to_int(token: str, alphabet: CoordAlphabet) -> int:
    """Return the bin that a coord token spells.

    Raises:
        RecordError: If it is no coord token of the alphabet.

    Example:
        >>> token_to_int("<|coord_12|>", SPEC_ALPHABET)
        12
    """
    try:
        return _bins_by_token(alphabet)[token]
    except (KeyError, TypeError):  # the latter of what cannot be a key, such as a list
        raise RecordError(f"expected a coord token {alphabet}, got {token!r}") from None


def tokens_to_ints(tokens: Iterable[str], alphabet: CoordAlphabet) -> tuple[int, ...]:
    """Return the bins of several coord tokens."""
    return tuple(token_to_int(token, alphabet) for token in tokens)


def ints_to_tokens(bins: Iterable[int], alphabet: CoordAlphabet) -> tuple[str, ...]:
    """Return the coord tokens of several bins.

    Raises:
        RecordError: If one is no whole number, or out of range.

    Example:
        >>> ints_to_tokens([0, 999], SPEC_ALPHABET)
        ('<|coord_0|>', '<|coord_999|>')
    """
    return tuple(alphabet.token(checked_bin(k, alphabet)) for k in bins)


def checked_bin(k: int, alphabet: CoordAlphabet) -> int:
    """Return `k` if it is a bin: a whole number, of Python, NumPy or torch.

    12.0 is none, although it equals 12: where fractions occur, one of them would sooner or later be
    cut off in silence. True is none either.

    Raises:
        RecordError: If it is not.
    """
    if type(k) is int and 0 <= k < alphabet.bins:
        return k
    try:
        whole = -1 if isinstance(k, bool) else operator.index(k)
    except TypeError:
        whole = -1
    if not 0 <= whole < alphabet.bins:
        raise RecordError(f"expected a bin 0..{alphabet.bins - 1}, got {k!r}")
    return whole


def pixel_to_bin(x_px: float, size_px: float, alphabet: CoordAlphabet) -> int:
    """Return the bin of a pixel edge.

    Args:
        x_px: A position in `[0, size_px]`.
        size_px: The image's width for x, its height for y.
        alphabet: Gives the number of bins.

    Raises:
        RecordError: If the position lies outside the image or is no finite number. Nothing is
            clipped.

    Example:
        >>> [pixel_to_bin(x_px, 640, SPEC_ALPHABET) for x_px in (0, 320, 640)]
        [0, 500, 999]
    """
    _check_number(size_px, "a size in pixels")
    _check_number(x_px, f"a coordinate in 0..{size_px} pixels")
    if not 0 <= x_px <= size_px or not 0 < size_px < math.inf:  # the first is true for NaN as well
        raise RecordError(f"expected a coordinate in 0..{size_px} pixels, got {x_px}")
    # Multiplied before divided: whole pixels that lie halfway between two bins then do so exactly.
    # Not floor(position + 0.5): that sum rounds the float just below one half up to 1.
    position = x_px * (alphabet.bins - 1) / size_px
    below = math.floor(position)
    return below + 1 if position - below >= 0.5 else below  # noqa: PLR2004 - half up


def pixels_to_bins(
    values_px: Sequence[float], width: int, height: int, alphabet: CoordAlphabet
) -> tuple[int, ...]:
    """Return `pixel_to_bin` of each of x, y, x, y, ...; the arithmetic is the same, and faster.

    Raises:
        RecordError: If a position lies outside the image or is no number.

    Example:
        >>> pixels_to_bins([0, 240, 320, 480], 640, 480, SPEC_ALPHABET)
        (0, 500, 500, 999)
    """
    if not _PLAIN_NUMBERS.issuperset(map(type, values_px)):  # NumPy's, or what is no number
        for value in values_px:
            _check_number(value, "a coordinate in pixels")
    last = alphabet.bins - 1
    bins: list[int] = []
    add = bins.append
    for x_px, y_px in zip(values_px[0::2], values_px[1::2], strict=True):
        if not (0 <= x_px <= width and 0 <= y_px <= height):  # raises in words
            pixel_to_bin(x_px, width, alphabet)
            pixel_to_bin(y_px, height, alphabet)
        x, y = x_px * last / width, y_px * last / height
        left, top = int(x), int(y)  # nothing here is negative
        add(left + (x - left >= 0.5))  # noqa: PLR2004 - half up
        add(top + (y - top >= 0.5))  # noqa: PLR2004
    return tuple(bins)


def bin_to_pixel(k: float, size_px: float, alphabet: CoordAlphabet) -> float:
    """Return the pixel edge that a bin stands for; `k` may lie between two bins.

    Raises:
        RecordError: If `k` is no number, or outside 0..bins-1.

    Example:
        >>> bin_to_pixel(0, 640, SPEC_ALPHABET), bin_to_pixel(999, 640, SPEC_ALPHABET)
        (0.0, 640.0)
    """
    last = alphabet.bins - 1
    _check_number(k, f"a bin 0..{last}")
    if not 0 <= k <= last:
        raise RecordError(f"expected a bin 0..{last}, got {k}")
    return k / last * size_px  # divided first, so that the last bin is `size_px` to the last digit


def _check_number(value: object, expected: str) -> None:
    """Refuse text, and True, which Python takes for 1."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise RecordError(f"expected {expected}, got {value!r}")
