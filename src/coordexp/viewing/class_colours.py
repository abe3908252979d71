"""A colour for each class, told from its name alone.

So a class looks the same on every picture, on every page and in every run, whatever else is there.
The price is that two of many classes may come out much alike; their names are never far.
"""

import colorsys
import hashlib
from functools import cache

# Degrees of hue that look about equally far apart; the greens and cyans between are much alike.
_HUES = (0, 18, 32, 45, 58, 85, 130, 165, 185, 205, 230, 255, 275, 295, 315, 335, 360)
_LIGHTNESS = (0.40, 0.52, 0.64)
_SATURATION = (0.70, 0.95)
_BRIGHT = 0.36  # luminance from which black letters are read better than white ones


@cache
def class_colour(name: str) -> str:
    """Return the colour of a class, as `#rrggbb`.

    Example:
        >>> class_colour("cat") == class_colour("cat") != class_colour("dog")
        True
    """
    digest = hashlib.sha256(name.encode()).digest()
    step, part = divmod(int.from_bytes(digest[:2], "big") / 2**16 * (len(_HUES) - 1), 1)
    low, high = _HUES[int(step) : int(step) + 2]
    hue = (low + part * (high - low)) / 360
    lightness = _LIGHTNESS[digest[2] % len(_LIGHTNESS)]
    saturation = _SATURATION[digest[3] % len(_SATURATION)]
    return "#" + "".join(
        f"{round(255 * c):02x}" for c in colorsys.hls_to_rgb(hue, lightness, saturation)
    )


def ink_on(colour: str) -> str:
    """Return black or white, whichever is read better on a colour.

    Example:
        >>> ink_on("#ffff00"), ink_on("#000080")
        ('#000000', '#ffffff')
    """
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "#000000" if luminance >= _BRIGHT else "#ffffff"
