"""Rings: the closed outlines of things, as x, y, x, y, ... in a flat tuple.

A ring does not repeat its first point at its end. It is canonical when it runs clockwise on the
screen, where y points down, and starts at its top-most point, of those at the left-most.
"""

import math
from collections.abc import Sequence

import numpy as np

from coordexp.data.contract.geometry import Box

Ring = tuple[float, ...]
Point = tuple[float, float]

_LEAST_POINTS = 3


def ring_area(ring: Sequence[float]) -> float:
    """Return the signed area, above 0 where the ring runs clockwise on the screen.

    Example:
        >>> ring_area([0, 0, 4, 0, 4, 3, 0, 3])
        12.0
    """
    xs = [x - ring[0] for x in ring[0::2]]  # near the origin, where floats are fine
    ys = [y - ring[1] for y in ring[1::2]]
    sides = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    return sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in sides) / 2


def canonical_ring(values: Sequence[float]) -> Ring:
    """Return a ring in canonical order, without points that repeat the one before.

    Empty where fewer than three points or no area remain.

    Example:
        >>> canonical_ring([4, 3, 4, 0, 0, 0, 0, 0, 0, 3, 4, 3])
        (0, 0, 4, 0, 4, 3, 0, 3)
    """
    points = list(zip(values[0::2], values[1::2], strict=True))
    points = [point for at, point in enumerate(points) if point != points[at - 1]]
    if len(points) < _LEAST_POINTS:
        return ()
    area = ring_area([value for point in points for value in point])
    if area == 0:
        return ()
    if area < 0:
        points.reverse()
    top_left = min((y, x) for x, y in points)
    starts = [at for at, (x, y) in enumerate(points) if (y, x) == top_left]
    # A ring may pass its top-left point twice; the choice must not depend on where the file starts.
    first = min(points[at:] + points[:at] for at in starts)
    return tuple(value for point in first for value in point)


def clip_ring(ring: Sequence[float], width: float, height: float) -> Ring:
    """Return the part of a ring inside the picture, by Sutherland and Hodgman.

    The area inside is exact. Where a ring leaves the picture and comes back, its parts stay joined
    along the border.
    """
    points = list(zip(ring[0::2], ring[1::2], strict=True))
    for axis, limit, sign in ((0, 0.0, 1), (0, width, -1), (1, 0.0, 1), (1, height, -1)):
        points = _clip_at(points, axis=axis, limit=limit, sign=sign)
    return tuple(value for point in points for value in point)


def simplify_ring(ring: Ring, most: int) -> Ring:
    """Return at most `most` of a ring's points, those that Douglas and Peucker keep longest.

    Their recursion is run once to the end, and each point remembers the tolerance at which it
    would go; the least tolerance that leaves `most` points is then a matter of sorting. The first
    point and the one farthest from it stay in any case.
    """
    count = len(ring) // 2
    if count <= most:
        return ring
    points = np.asarray(ring, dtype=np.float64).reshape(-1, 2)
    far = int(np.argmax(((points - points[0]) ** 2).sum(axis=1)))
    goes_at = _tolerances(np.vstack([points, points[:1]]), far)[:count]
    longest = np.argsort(-goes_at, kind="stable")[:most]
    return tuple(value for at in sorted(longest) for value in ring[2 * at : 2 * at + 2])


def join_rings(rings: Sequence[Ring]) -> Ring:
    """Return one ring that encloses what all of them do, holes left out.

    From the first point a bridge without width leads to each other ring, around it and back. a
    ring lies inside another, an even number of edges stands before its inside: a hole.
    """
    x, y = rings[0][:2]
    joined = [*rings[0], x, y]
    for ring in rings[1:]:
        joined += (*ring, *ring[:2], x, y)
    return tuple(joined)


def box_around(rings: Sequence[Ring]) -> Box:
    """Return x1, y1, x2, y2 around all rings."""
    xs = [value for ring in rings for value in ring[0::2]]
    ys = [value for ring in rings for value in ring[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def _clip_at(points: list[Point], *, axis: int, limit: float, sign: int) -> list[Point]:
    """Keep the side of one border where `sign * (value - limit)` is not negative."""
    kept: list[Point] = []
    for at, point in enumerate(points):
        before = points[at - 1]
        inside = sign * (point[axis] - limit) >= 0
        if inside != (sign * (before[axis] - limit) >= 0):
            kept.append(_crossing(before, point, axis, limit))
        if inside:
            kept.append(point)
    return kept


def _crossing(a: Point, b: Point, axis: int, limit: float) -> Point:
    share = (limit - a[axis]) / (b[axis] - a[axis])
    other = a[1 - axis] + share * (b[1 - axis] - a[1 - axis])
    return (limit, other) if axis == 0 else (other, limit)


def _tolerances(points: np.ndarray, far: int) -> np.ndarray:
    """Return for each point of a closed line the tolerance at which it is left out."""
    goes_at = np.zeros(len(points))
    goes_at[[0, far, -1]] = math.inf
    parts = [(0, far, math.inf), (far, len(points) - 1, math.inf)]
    while parts:
        first, last, limit = parts.pop()
        if last - first < 2:  # noqa: PLR2004 - nothing in between
            continue
        distances = _distances(points[first + 1 : last], points[first], points[last])
        nearest = int(np.argmax(distances))
        middle = first + 1 + nearest
        # A point is kept only while the one that split its part is kept.
        goes_at[middle] = tolerance = min(float(distances[nearest]), limit)
        parts += [(first, middle, tolerance), (middle, last, tolerance)]
    return goes_at


def _distances(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distances of points to the straight piece from a to b."""
    along = b - a
    length = float(along @ along)
    share = np.clip((points - a) @ along / length, 0, 1) if length else np.zeros(len(points))
    gaps: np.ndarray = np.hypot(*(points - a - share[:, None] * along).T)
    return gaps
