"""From COCO's run-length encoded masks to outlines.

faster-coco-eval decodes the mask; nothing that we depend on traces it. OpenCV, the usual choice,
runs its contours through pixel centres, half a pixel too far inside on every side. Here an outline
runs along the pixels' edges, so that it encloses exactly the mask's area.
"""

from collections.abc import Mapping

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from coordexp.data.convert.objects.outline import Ring, ring_area
from coordexp.data.convert.reading.shapes import UnusableError

_BROKEN = "a mask that cannot be decoded"
_Side = tuple[tuple[int, int], int]  # where it starts, and its direction
# Directions in the order of a clockwise turn on the screen: right, down, left, up.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def mask_to_outlines(rle: Mapping[str, object], width: int, height: int) -> tuple[Ring, ...]:
    """Return the outer edges of a mask's pieces, and its holes running the other way.

    Pixels that touch only at a corner belong to different pieces.

    Raises:
        UnusableError: If it cannot be decoded, is empty, or has another size than the picture.
    """
    pixels = _decoded(rle, width, height)
    if not pixels.any():
        raise UnusableError("a mask without a pixel")
    return trace_pixels(pixels)


def trace_pixels(pixels: np.ndarray) -> tuple[Ring, ...]:
    """Return rings along the edges of the set pixels of an array (rows, columns).

    Clockwise around what is set, anticlockwise around holes, corners only, from top to bottom.

    Example:
        >>> trace_pixels(np.array([[0, 1, 1], [0, 1, 1]]))
        ((1, 0, 3, 0, 3, 2, 1, 2),)
    """
    sides = _sides(pixels.astype(bool))
    starts = sorted(sides, key=lambda side: (side[0][1], side[0][0], side[1]))
    seen: set[_Side] = set()
    return tuple(_walk(sides, seen, start) for start in starts if start not in seen)


def is_hole(ring: Ring) -> bool:
    """Return whether a ring of `trace_pixels` runs around a hole."""
    return ring_area(ring) < 0


def _decoded(rle: Mapping[str, object], width: int, height: int) -> np.ndarray:
    counts, size = rle.get("counts"), rle.get("size")
    if size != [height, width]:
        raise UnusableError("a mask of another size than its picture")
    if isinstance(counts, list):
        return _runs_to_pixels(counts, width, height)
    if not isinstance(counts, str | bytes):
        raise UnusableError(_BROKEN)
    try:
        pixels: np.ndarray = coco_mask.decode({"size": size, "counts": counts})
    except (ValueError, RuntimeError, TypeError, OverflowError):
        raise UnusableError(_BROKEN) from None
    return pixels


def _runs_to_pixels(counts: list[object], width: int, height: int) -> np.ndarray:
    runs = [run for run in counts if type(run) is int and 0 <= run <= width * height]
    if len(runs) != len(counts) or sum(runs) != width * height:
        raise UnusableError(_BROKEN)
    values = np.arange(len(runs)) % 2
    return np.repeat(values, runs).reshape(width, height).T  # runs go down the columns


def _sides(pixels: np.ndarray) -> set[_Side]:
    """Return every side between a set pixel and none, with the set one on its right."""
    framed = np.pad(pixels, 1)
    inner = framed[1:-1, 1:-1]
    found: set[_Side] = set()
    # For each direction: the neighbour that must not be set, and the corner where the side starts.
    for direction, neighbour, (x, y) in (
        (0, framed[:-2, 1:-1], (0, 0)),
        (1, framed[1:-1, 2:], (1, 0)),
        (2, framed[2:, 1:-1], (1, 1)),
        (3, framed[1:-1, :-2], (0, 1)),
    ):
        rows, columns = np.nonzero(inner & ~neighbour)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            found.add(((column + x, row + y), direction))
    return found


def _walk(sides: set[_Side], seen: set[_Side], start: _Side) -> Ring:
    """Follow sides from one that starts at a corner until the ring closes."""
    ring: list[float] = []
    side, last = start, None
    while True:
        seen.add(side)
        (x, y), direction = side
        if direction != last:
            ring += (x, y)
        last = direction
        ahead = (x + _STEPS[direction][0], y + _STEPS[direction][1])
        # Where two pixels touch at a corner, turning right keeps them apart.
        turns = ((ahead, (direction + turn) % 4) for turn in (1, 0, 3))
        side = next(turn for turn in turns if turn in sides)
        if side == start:
            return tuple(ring)
