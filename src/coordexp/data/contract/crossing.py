"""Whether a polygon's outline crosses itself: one, or many at once in a third of the time.

Geometry libraries answer another question: to GEOS an outline that touches itself is not simple,
and to ask it takes as long.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Edge = tuple[float, float, float, float]
Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
Truths = NDArray[np.bool_]

# Outlines are taken together up to about this many edges: arrays that stay in the cache, and pairs
# of edges that stay few. Longer ones are swept one by one.
_EDGES_AT_ONCE = 4096
_LONG = 256


def crosses_itself(values: Sequence[float]) -> bool:
    """Return whether two edges of a closed outline cross, each at a point inside it.

    Edges that merely touch, at a corner or along a side, do not count: outlines traced on a pixel
    grid are full of them, and their area is well defined.

    Edges are swept from left to right, so that each meets only those beside it: outlines of
    thousands of points are no trouble.

    Args:
        values: x, y, x, y, ...; the last point is joined to the first.

    Example:
        >>> crosses_itself([0, 0, 4, 0, 4, 4, 0, 4]), crosses_itself([0, 0, 4, 4, 4, 0, 0, 4])
        (False, True)
    """
    xs, ys = values[0::2], values[1::2]
    ends = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    edges: list[Edge] = sorted(
        [(x1, y1, x2, y2) if x1 <= x2 else (x2, y2, x1, y1) for x1, y1, x2, y2 in ends]
    )
    beside: list[tuple[float, float, float, Edge]] = []  # right end, lowest, highest
    for edge in edges:
        left, y1, right, y2 = edge
        low, high = (y1, y2) if y1 < y2 else (y2, y1)
        beside = [other for other in beside if other[0] > left]
        for _, other_low, other_high, other in beside:
            if other_low < high and low < other_high and _cross(edge, other):
                return True
        beside.append((right, low, high, edge))
    return False


def _cross(a: Edge, b: Edge) -> bool:
    """Return whether the ends of each edge lie strictly on both sides of the other."""
    ax1, ay1, ax2, ay2 = a
    bx1, by1, bx2, by2 = b
    dx, dy = ax2 - ax1, ay2 - ay1
    first = dx * (by1 - ay1) - dy * (bx1 - ax1)
    second = dx * (by2 - ay1) - dy * (bx2 - ax1)
    if not (first < 0 < second or second < 0 < first):
        return False
    dx, dy = bx2 - bx1, by2 - by1
    first = dx * (ay1 - by1) - dy * (ax1 - bx1)
    second = dx * (ay2 - by1) - dy * (ax2 - bx1)
    return first < 0 < second or second < 0 < first


def crossing_outlines(outlines: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the outlines for which `crosses_itself` is true.

    The comparisons and the products are the same, on the same pairs of edges, for many outlines in
    one array; so are the verdicts, as long as whole numbers stay below 2 ** 26.

    Args:
        outlines: x, y, x, y, ... each.

    Example:
        >>> crossing_outlines([[0, 0, 4, 0, 4, 4], [0, 0, 4, 4, 4, 0, 0, 4]])
        [1]
    """
    found: list[int] = []
    together: list[int] = []
    edges = 0
    for index, values in enumerate(outlines):
        if len(values) > 2 * _LONG:
            found += [index] if crosses_itself(values) else []
            continue
        together.append(index)
        edges += len(values) // 2
        if edges >= _EDGES_AT_ONCE:
            found += _crossing_of(outlines, together)
            together, edges = [], 0
    found += _crossing_of(outlines, together)
    return sorted(found)


def _crossing_of(outlines: Sequence[Sequence[float]], chosen: Sequence[int]) -> list[int]:
    """Return those of the chosen indices whose outlines cross themselves."""
    if not chosen:
        return []
    parts = [outlines[index] for index in chosen]
    counts = np.array([len(values) // 2 for values in parts])
    values = np.fromiter(chain.from_iterable(parts), np.float64, 2 * int(counts.sum()))
    edges, owner = _sorted_edges(values, counts)
    first, second = _pairs_beside(edges, owner)
    crossed = _cross_all(edges[:, first], edges[:, second])
    return [chosen[part] for part in sorted(set(owner[first[crossed]].tolist()))]


def _sorted_edges(values: Numbers, counts: Indices) -> tuple[Numbers, Indices]:
    """Return left x, its y, right x and its y of each edge, four rows, and whose each edge is.

    Args:
        values: x, y, x, y, ... of all outlines.
        counts: Corners of each.

    Edges are sorted by outline, then from left to right, but for what lies closer than a rounding.
    """
    points = values.reshape(-1, 2).T
    ends = np.cumsum(counts)
    following = np.arange(1, ends[-1] + 1)
    following[ends - 1] = ends - counts
    there = points[:, following]
    forward = points[0] <= there[0]
    edges = np.concatenate([np.where(forward, points, there), np.where(forward, there, points)])
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.argsort(_along(edges[0], edges[0], edges[2], owner))
    return edges[:, order], owner[order]


def _along(x: Numbers, left: Numbers, right: Numbers, owner: Indices) -> Numbers:
    """Return one number a place, with a strip for each outline.

    Rounding may let two places fall together, and never changes their order.
    """
    return owner * (float(right.max()) - float(left.min()) + 1) + x


def _pairs_beside(edges: Numbers, owner: Indices) -> tuple[Indices, Indices]:
    """Return all pairs of edges of one outline that overlap from left to right and up and down."""
    left, y1, right, y2 = edges
    starts, stops = (_along(x, left, right, owner) for x in (left, right))
    places = np.arange(len(owner))
    # Those behind an edge that begin before it ends, and by rounding a few too many.
    counts = np.maximum(np.searchsorted(starts, stops, side="right") - places - 1, 0)
    first = np.repeat(places, counts)
    second = np.arange(1, len(first) + 1) + np.repeat(places - np.cumsum(counts) + counts, counts)
    low, high = np.minimum(y1, y2), np.maximum(y1, y2)
    beside = np.flatnonzero((low[first] < high[second]) & (low[second] < high[first]))
    first, second = first[beside], second[beside]
    beside = np.flatnonzero((right[first] > left[second]) & (right[second] > left[first]))
    return first[beside], second[beside]


def _cross_all(a: Numbers, b: Numbers) -> Truths:
    """Return `_cross` of each pair of edges."""
    return _parts(a, b) & _parts(b, a)


def _parts(a: Numbers, b: Numbers) -> Truths:
    """Return whether the ends of each edge `b` lie strictly on both sides of the edge `a`."""
    ax1, ay1, ax2, ay2 = a
    bx1, by1, bx2, by2 = b
    dx, dy = ax2 - ax1, ay2 - ay1
    one = dx * (by1 - ay1) - dy * (bx1 - ax1)
    two = dx * (by2 - ay1) - dy * (bx2 - ax1)
    apart: Truths = ((one < 0) & (two > 0)) | ((one > 0) & (two < 0))
    return apart
