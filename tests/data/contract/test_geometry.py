from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.geometry import Geometry, bounding_box, parse_geometry, shown


def test_pixels_and_bins_use_the_size_of_their_axis() -> None:
    box = Geometry("bbox_2d", (0, 50, 200, 100), "px")
    # 50 / 100 * 999 = 499.5, half up
    assert box.to_bins(200, 100, SPEC_ALPHABET) == (0, 500, 999, 999)
    assert box.to_pixels(200, 100, SPEC_ALPHABET) == (0, 50, 200, 100)
    assert Geometry("bbox_2d", (0, 0, 999, 999), "bin").to_pixels(200, 100, SPEC_ALPHABET) == (
        0,
        0,
        200,
        100,
    )


def test_bins_do_not_depend_on_the_size() -> None:
    box = Geometry("bbox_2d", (1, 2, 3, 4), "bin")
    assert box.to_bins(7, 9, SPEC_ALPHABET) == box.to_bins(1, 1, SPEC_ALPHABET) == (1, 2, 3, 4)


def test_bins_follow_the_alphabet() -> None:
    loc = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
    assert parse_geometry("line", ["<loc0000>"] * 3 + ["<loc1023>"], 1, 1, loc).values[-1] == 1023
    assert Geometry("line", (0, 0, 8, 8), "px").to_bins(8, 8, loc) == (0, 0, 1023, 1023)


@given(st.lists(st.tuples(st.integers(), st.integers()), min_size=1))
def test_the_bounding_box_touches_its_points(points: list[tuple[int, int]]) -> None:
    x1, y1, x2, y2 = bounding_box([value for point in points for value in point])
    assert all(x1 <= x <= x2 and y1 <= y <= y2 for x, y in points)
    assert {x1, x2} <= {x for x, _ in points}
    assert {y1, y2} <= {y for _, y in points}


def test_shown_values_are_short() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, 10**400, "x" * 10_000, list(range(1000))):
        assert len(shown(value)) <= 60
    while deep:  # taken apart by hand: Python's own way down is deep as well
        deep = deep[0]  # type: ignore[assignment]
