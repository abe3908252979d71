"""Bins of very many pixels at once, the same as `codec.pixels_to_bins` gives of a few."""

from collections.abc import Sequence

import numpy as np

from coordexp.coord_tokens.codec import CoordAlphabet


def many_pixels_to_bins(
    values_px: Sequence[float], sizes_px: Sequence[int], alphabet: CoordAlphabet
) -> list[int]:
    """Return the bin of each pixel edge, as integers of Python.

    The arithmetic is that of `coordexp.coord_tokens.codec.pixel_to_bin`, to the last digit as long
    as sizes times bins stay below 2 ** 53. Nothing is checked: this is for geometries that were.

    Args:
        values_px: Positions, each in `[0, size]`.
        sizes_px: Of each, the image's width or height.
        alphabet: Gives the number of bins.

    Example:
        >>> many_pixels_to_bins([0, 240, 320, 480], [640, 480, 640, 480], CoordAlphabet())
        [0, 500, 500, 999]
    """
    position = np.array(values_px, np.float64) * (alphabet.bins - 1) / np.array(sizes_px)
    below = np.floor(position)
    bins: list[int] = (below + (position - below >= 0.5)).astype(np.int64).tolist()  # noqa: PLR2004 - half up
    return bins
