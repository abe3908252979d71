"""Whether a polygon's outline crosses itself."""

from collections.abc import Sequence

Point = tuple[float, float]
Edge = tuple[float, float, float, float]


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
