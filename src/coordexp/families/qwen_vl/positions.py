"""Three-row rotary positions (mRoPE) as a pure function.

Text counts up in all three rows at once. An image keeps one temporal position and spreads its
merged patches over height and width, starting where the text stopped; the text after it goes on
from the larger side::

    tokens    a b [ 2 x 3 image ] c
    temporal  0 1 2 2 2 2 2 2     5
    height    0 1 2 2 2 3 3 3     5
    width     0 1 2 3 4 2 3 4     5

Tested against `get_rope_index` of each family's model. How a model spreads the rows over its
frequencies, in blocks or interleaved, is its own affair. Videos, whose frames Qwen2.5-VL spaces by
their time, are not covered.
"""

from collections.abc import Sequence

Positions = tuple[list[int], list[int], list[int]]


def mrope_positions(
    is_image: Sequence[bool], grids_thw: Sequence[tuple[int, int, int]], merge_size: int
) -> Positions:
    """Return the temporal, height and width position of every token of one example.

    Args:
        is_image: Which tokens are image placeholders.
        grids_thw: Per image, frames and patches along height and width, before merging.
        merge_size: Patches merged along each side into one token.

    Raises:
        ValueError: If the placeholders do not add up to the grids.

    Example:
        >>> mrope_positions([False, True, True, False], [(1, 2, 4)], 2)
        ([0, 1, 1, 3], [0, 1, 1, 3], [0, 1, 2, 3])
    """
    rows: Positions = ([], [], [])
    grids = iter(grids_thw)
    token, position = 0, 0
    while token < len(is_image):
        if not is_image[token]:
            text = _text_length(is_image, token)
            for row in rows:
                row.extend(range(position, position + text))
            token, position = token + text, position + text
            continue
        grid = next(grids, None)
        if grid is None:
            raise ValueError(f"image placeholder at token {token}, but no grid is left for it")
        frames, high, wide = grid[0], grid[1] // merge_size, grid[2] // merge_size
        places = is_image[token : token + frames * high * wide]
        if len(places) < frames * high * wide or not all(places):
            raise ValueError(
                f"grid {grid} needs {frames * high * wide} placeholders at token {token}"
            )
        _append_image(rows, position, frames, high, wide)
        token, position = token + frames * high * wide, position + max(high, wide)
    if next(grids, None) is not None:
        raise ValueError("more image grids than runs of image placeholders")
    return rows


def _text_length(is_image: Sequence[bool], start: int) -> int:
    try:
        return is_image.index(True, start) - start
    except ValueError:  # no image follows
        return len(is_image) - start


def _append_image(rows: Positions, start: int, frames: int, high: int, wide: int) -> None:
    for _ in range(frames):
        rows[0].extend([start] * (high * wide))
        for y in range(high):
            rows[1].extend([start + y] * wide)
            rows[2].extend(range(start, start + wide))
