"""Places in a view against slow references: exact fractions, and the picture itself."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coordexp.data.augment.view import View
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.geometry_kinds import GeometryKind
from coordexp.data.convert.objects.outline import ring_area

SIZE = (160, 120)
EXACT_PX = 0.01


@st.composite
def views(draw: st.DrawFn) -> View:
    share = draw(st.floats(0.2, 1))
    left, top = (draw(st.floats(0, 1)) * (1 - share) * side for side in SIZE)
    return View(SIZE, left, top, share, draw(st.booleans()), draw(st.booleans()))


def reference(view: View, x: float, y: float) -> tuple[Fraction, Fraction]:
    """Where a place is, in fractions: enlarged around the window's corner, then turned over."""
    found = []
    for value, start, side, turned in (
        (x, view.left, SIZE[0], view.mirrored),
        (y, view.top, SIZE[1], view.upside_down),
    ):
        moved = (Fraction(value) - Fraction(start)) / Fraction(view.share)
        found.append(side - moved if turned else moved)
    return found[0], found[1]


xs, ys = st.floats(0, SIZE[0]), st.floats(0, SIZE[1])


@given(views(), xs, ys)
def test_a_point_is_where_fractions_say_or_not_there(view: View, x: float, y: float) -> None:
    seen = view.seen(Geometry("point_2d", (x, y), "px"))
    exact = reference(view, x, y)
    if seen.values:
        assert all(abs(a - b) < EXACT_PX for a, b in zip(seen.values, exact, strict=True))
        assert all(0 <= value <= side for value, side in zip(seen.values, SIZE, strict=True))
    else:
        assert any(v < EXACT_PX or v > side - EXACT_PX for v, side in zip(exact, SIZE, strict=True))


@given(views(), st.lists(xs, min_size=2, max_size=2), st.lists(ys, min_size=2, max_size=2))
def test_a_box_is_cut_and_shared_as_fractions_say(
    view: View, across: list[float], down: list[float]
) -> None:
    box = (min(across), min(down), max(across), max(down))
    corners = [reference(view, *box[:2]), reference(view, *box[2:])]
    inside, shares = [], []
    for axis, side in enumerate(SIZE):
        low, high = sorted(corner[axis] for corner in corners)
        cut = (min(max(low, Fraction(0)), Fraction(side)), max(min(high, Fraction(side)), 0))
        inside.append(cut)
        shares.append((cut[1] - cut[0]) / (high - low) if high > low else Fraction(1))
    seen = view.seen(Geometry("bbox_2d", box, "px"))
    if seen.values:
        exact = (inside[0][0], inside[1][0], inside[0][1], inside[1][1])
        assert all(abs(a - b) < EXACT_PX for a, b in zip(seen.values, exact, strict=True))
        thin = min(box[2] - box[0], box[3] - box[1]) < EXACT_PX
        assert thin or seen.share == pytest.approx(float(shares[0] * shares[1]), abs=1e-6)
    else:
        gone = min(float(high - low) for low, high in inside)
        assert gone < EXACT_PX


@st.composite
def stars(draw: st.DrawFn) -> tuple[float, ...]:
    """An outline around a middle that no edge of it crosses, clockwise from anywhere."""
    count = draw(st.integers(3, 8))
    # Less than half a turn apart: else the middle lies outside, and edges may cross.
    turns = [(360 * k + draw(st.integers(0, 170))) / count for k in range(count)]
    x, y = draw(st.floats(50, 110)), draw(st.floats(50, 70))
    values: list[float] = []
    for turn in turns:
        reach = draw(st.floats(5, 45))
        values += (
            x + reach * math.cos(math.radians(turn)),
            y + reach * math.sin(math.radians(turn)),
        )
    return tuple(values)


def area_inside(ring: list[Fraction]) -> Fraction:
    """Area of a ring inside the view, strip by strip between all heights where an edge bends.

    In a strip every edge is straight and crosses no border of the view, so its width in the middle
    times its height is its area.
    """
    points = list(zip(ring[0::2], ring[1::2], strict=True))
    edges = [(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True) if a[1] != b[1]]
    heights = {Fraction(0), Fraction(SIZE[1]), *(y for _, y in points)}
    for (x1, y1), (x2, y2) in edges:
        for border in (0, SIZE[0]):
            if x1 != x2:
                heights.add(y1 + (border - x1) * (y2 - y1) / (x2 - x1))
    kept = sorted(y for y in heights if 0 <= y <= SIZE[1])
    area = Fraction(0)
    for low, high in pairwise(kept):
        y = (low + high) / 2
        crossings = sorted(
            x1 + (y - y1) * (x2 - x1) / (y2 - y1)
            for (x1, y1), (x2, y2) in edges
            if min(y1, y2) <= y < max(y1, y2)
        )
        limits = [min(max(x, Fraction(0)), Fraction(SIZE[0])) for x in crossings]
        pairs = zip(limits[0::2], limits[1::2], strict=True)
        area += (high - low) * sum((b - a for a, b in pairs), Fraction(0))
    return area


@given(views(), stars())
def test_an_outline_covers_what_fractions_say(view: View, ring: tuple[float, ...]) -> None:
    if abs(ring_area(ring)) < 1:
        return
    seen = view.seen(Geometry("poly", ring, "px"))
    exact = [
        value
        for x, y in zip(ring[0::2], ring[1::2], strict=True)
        for value in reference(view, x, y)
    ]
    inside, whole = area_inside(exact), abs(Fraction(ring_area([float(v) for v in exact])))
    if not seen.values:
        assert inside < EXACT_PX
        return
    assert ring_area(seen.values) >= 0 or view.is_whole  # clockwise again
    assert abs(abs(ring_area(seen.values)) - float(inside)) < EXACT_PX * 10
    assert seen.share == pytest.approx(float(inside / whole), abs=1e-5)
    corners = {(float(x), float(y)) for x, y in zip(exact[0::2], exact[1::2], strict=True)}
    for x, y in zip(seen.values[0::2], seen.values[1::2], strict=True):
        near = min(math.hypot(x - a, y - b) for a, b in corners)
        on_border = min(x, y, SIZE[0] - x, SIZE[1] - y) < EXACT_PX
        assert near < EXACT_PX or on_border


@pytest.mark.parametrize("kind", ["bbox_2d", "poly", "line", "point_2d"])
def test_the_whole_picture_changes_nothing(kind: GeometryKind) -> None:
    values = {
        "bbox_2d": (0.1, 2.3, 159.9, 120),
        "poly": (5, 5.5, 9, 9, 1, 9),
        "line": (9, 9, 1.7, 3),
        "point_2d": (0, 120),
    }[kind]
    seen = View(SIZE).seen(Geometry(kind, values, "px"))
    assert (seen.values, seen.share) == (values, 1)


def test_an_outline_that_is_turned_over_runs_clockwise_from_its_top() -> None:
    ring = Geometry("poly", (10, 10, 30, 20, 20, 40), "px")
    assert View(SIZE, mirrored=True).seen(ring).values == (150, 10, 140, 40, 130, 20)
    assert View(SIZE, upside_down=True).seen(ring).values == (20, 80, 30, 100, 10, 110)


def test_a_line_that_leaves_is_cut_and_one_that_is_away_is_not() -> None:
    view = View(SIZE, left=80, top=0, share=0.5)
    assert view.cuts(Geometry("line", (70, 10, 90, 10), "px"))
    assert not view.cuts(Geometry("line", (10, 10, 20, 10), "px"))
    assert not view.cuts(Geometry("line", (90, 10, 100, 10), "px"))
    assert not view.cuts(Geometry("bbox_2d", (70, 10, 90, 20), "px"))


@pytest.mark.parametrize("file_size", [SIZE, (320, 240)])
@pytest.mark.parametrize(
    "view",
    [
        View(SIZE, mirrored=True),
        View(SIZE, upside_down=True),
        View(SIZE, 20, 30, 0.5),
        View(SIZE, 33.3, 11.1, 0.625, mirrored=True, upside_down=True),
        View(SIZE, 40, 30, 0.75),  # to the very end
    ],
)
def test_the_picture_goes_where_its_boxes_go(view: View, file_size: tuple[int, int]) -> None:
    """A light box is found again where it should be, by how much light there is in each column."""
    box = (64, 48, 104, 80)
    scale = file_size[0] / SIZE[0]
    # Cubic resampling overshoots at edges; between these two greys none of it is cut off.
    pixels = np.full(file_size[::-1], 60, dtype=np.uint8)
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    pixels[y1:y2, x1:x2] = 180
    shown = (np.asarray(view.picture(Image.fromarray(pixels)), dtype=np.float64) - 60) / 120
    assert shown.shape == pixels.shape
    x1, y1, x2, y2 = (value * scale for value in view.seen(Geometry("bbox_2d", box, "px")).values)
    across, down = shown[round((y1 + y2) / 2)], shown[:, round((x1 + x2) / 2)]
    for light, low, high in ((across, x1, x2), (down, y1, y2)):
        middle = (light * (np.arange(len(light)) + 0.5)).sum() / light.sum()
        assert middle == pytest.approx((low + high) / 2, abs=0.06)
        assert light.sum() == pytest.approx(high - low, abs=0.05)
