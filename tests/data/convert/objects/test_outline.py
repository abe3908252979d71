import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordexp.data.convert.objects.outline import (
    box_around,
    canonical_ring,
    clip_ring,
    ring_area,
    simplify_ring,
)

POINTS = st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), min_size=3, max_size=12)
STAIRS = (0, 0, 8, 0, 8, 2, 6, 2, 6, 4, 4, 4, 4, 6, 2, 6, 2, 8, 0, 8)


def flat(points: list[tuple[int, int]]) -> tuple[float, ...]:
    return tuple(float(value) for point in points for value in point)


@given(POINTS, st.integers(0, 11), st.booleans(), st.booleans())
def test_one_outline_has_one_canonical_form(
    points: list[tuple[int, int]], turn: int, backwards: bool, closed: bool
) -> None:
    ring = canonical_ring(flat(points))
    other = points[turn % len(points) :] + points[: turn % len(points)]
    other = other[::-1] if backwards else other
    other = [*other, other[0]] if closed else other
    assert canonical_ring(flat(other)) == ring
    assert canonical_ring(ring) == ring or not ring


@given(POINTS)
def test_a_canonical_ring_is_clockwise_and_starts_top_left(points: list[tuple[int, int]]) -> None:
    ring = canonical_ring(flat(points))
    assume(ring)
    assert ring_area(ring) == pytest.approx(abs(ring_area(flat(points))))
    assert ring_area(ring) > 0
    assert (ring[1], ring[0]) == min(zip(ring[1::2], ring[0::2], strict=True))


def test_rings_without_area_are_empty() -> None:
    assert canonical_ring((0, 0, 1, 1, 2, 2)) == ()
    assert canonical_ring((0, 0, 1, 1, 0, 0, 1, 1)) == ()
    assert canonical_ring((3, 3, 3, 3, 3, 3)) == ()
    assert canonical_ring(()) == ()


def test_clipping_keeps_the_exact_area_inside() -> None:
    # A square of side 4 of which a quarter lies inside.
    assert canonical_ring(clip_ring((-2, -2, 2, -2, 2, 2, -2, 2), 10, 10)) == (
        *(0, 0, 2, 0),
        *(2, 2, 0, 2),
    )
    # A triangle whose top is cut off at y = 0, half way up: 1/2 * 8 * 8 less its upper quarter.
    assert ring_area(clip_ring((4, -4, 8, 4, 0, 4), 10, 10)) == pytest.approx(32 * 3 / 4)
    assert clip_ring((20, 20, 30, 20, 30, 30), 10, 10) == ()


@given(POINTS)
def test_clipped_rings_lie_inside_and_rings_inside_stay(points: list[tuple[int, int]]) -> None:
    ring = flat(points)
    clipped = clip_ring(ring, 30, 40)
    assert all(-1e-9 <= x <= 30 + 1e-9 for x in clipped[0::2])
    assert all(-1e-9 <= y <= 40 + 1e-9 for y in clipped[1::2])
    if all(0 <= x <= 30 and 0 <= y <= 40 for x, y in points):
        assert clipped == ring


def test_simplifying_keeps_what_sticks_out() -> None:
    # (8, 2) is the farthest from (0, 0) and stays with it; of the rest (0, 8) sticks out most.
    assert simplify_ring(STAIRS, 3) == (0, 0, 8, 2, 0, 8)
    assert simplify_ring(STAIRS, 10) == STAIRS


@given(POINTS, st.integers(3, 11))
def test_simplified_rings_are_parts_of_the_ring(points: list[tuple[int, int]], most: int) -> None:
    ring = flat(points)
    simple = simplify_ring(ring, most)
    kept = [*zip(simple[0::2], simple[1::2], strict=True)]
    assert len(kept) == min(most, len(points))
    rest = iter([(float(x), float(y)) for x, y in points])
    assert all(point in rest for point in kept)  # in order


def slow_douglas_peucker(points: np.ndarray, tolerance: float) -> list[int]:
    """The textbook's recursion on a closed ring, cut at its first and its farthest point."""

    def between(first: int, last: int) -> list[int]:
        best, at = -1.0, -1
        for index in range(first + 1, last):
            a, b, p = closed[first], closed[last], closed[index]
            along = b - a
            share = min(1.0, max(0.0, (p - a) @ along / (along @ along))) if along.any() else 0.0
            gap = float(np.linalg.norm(p - a - share * along))
            if gap > best:
                best, at = gap, index
        if best <= tolerance:
            return []
        return [*between(first, at), at, *between(at, last)]

    closed = np.vstack([points, points[:1]])
    far = max(range(len(points)), key=lambda at: float(((points[at] - points[0]) ** 2).sum()))
    return [0, *between(0, far), *([far] if far else []), *between(far, len(points))]


@given(POINTS, st.floats(0.1, 20))
def test_simplifying_agrees_with_the_slow_recursion(
    points: list[tuple[int, int]], tolerance: float
) -> None:
    ring = flat(points)
    array = np.array(points, dtype=np.float64)
    assume(any(point != points[0] for point in points))
    kept = slow_douglas_peucker(array, tolerance)
    assume(len(kept) >= 3)
    # Points that go at exactly the same tolerance may be kept in part; then the sizes differ.
    assert simplify_ring(ring, len(kept)) == flat([points[at] for at in kept])


def test_the_box_goes_around_all_pieces() -> None:
    assert box_around([(0, 0, 1, 0, 1, 1), (5, 7, 6, 7, 6, 9)]) == (0, 0, 6, 9)
