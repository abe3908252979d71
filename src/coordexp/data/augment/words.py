"""Words that say on which side something is: a picture turned over makes them wrong.

English words and the Chinese signs are known; of any other language nothing is.
"""

import re
from collections.abc import Iterable
from typing import Literal

Flip = Literal["left_right", "up_down"]

# Begin a word: `left_eye`, `rightmost` and `top-left`, but neither `bright` nor `upright`.
_BEGINNING = r"(?<![^\W_])"
_ACROSS = re.compile(rf"{_BEGINNING}(?:left|right)|[左右]", re.IGNORECASE)
_DOWN = re.compile(
    rf"{_BEGINNING}(?:top|bottom|upper|lower|uppermost|lowest|highest|above|below|beneath"
    rf"|under|underneath|over|up|down|upside|upward|downward)(?![^\W_])"
    rf"|{_BEGINNING}(?:topmost|bottommost|upwards|downwards)|[上下]",
    re.IGNORECASE,
)


def speaks_of_sides(texts: Iterable[str], flip: Flip) -> bool:
    """Return whether a text would be wrong after the picture is turned over.

    Example:
        >>> speaks_of_sides(["person left_eye"], "left_right")
        True
        >>> speaks_of_sides(["a bright light", "right of way"], "up_down")
        False
    """
    pattern = _ACROSS if flip == "left_right" else _DOWN
    return any(pattern.search(text) for text in texts)
