"""An outline that crosses itself, by a sweep and by trying every pair."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.contract.crossing import crosses_itself, crossing_outlines

point = st.tuples(st.integers(0, 12), st.integers(0, 12))


def crosses_slowly(values: list[int]) -> bool:
    points = list(zip(values[0::2], values[1::2], strict=True))
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    return any(
        side(*a, b[0]) * side(*a, b[1]) < 0 and side(*b, a[0]) * side(*b, a[1]) < 0
        for a, b in combinations(edges, 2)
    )


def side(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@given(st.lists(point, min_size=3, max_size=9))
def test_the_sweep_finds_what_trying_every_pair_finds(points: list[tuple[int, int]]) -> None:
    values = [value for pair in points for value in pair]
    assert crosses_itself(values) == crosses_slowly(values)


near = st.one_of(st.integers(0, 4), st.floats(0, 4), st.sampled_from([0.1, 0.2, 0.3, 1 / 3, 1e-9]))
rough = st.lists(st.tuples(near, near), min_size=3, max_size=12)
twice = rough.flatmap(  # sides run along themselves, corners are visited again
    lambda points: st.permutations(points + points[:3]).map(lambda some: points[:2] + some)
)
along = st.lists(st.tuples(near, st.sampled_from([0, 1])), min_size=3, max_size=12)
outlines = st.lists(st.one_of(rough, twice, along, st.lists(point, min_size=3)), max_size=9)


@given(outlines)
def test_many_at_once_have_the_verdicts_of_each_alone(
    outlines: list[list[tuple[float, float]]],
) -> None:
    values = [[x for pair in points for x in pair] for points in outlines]
    alone = [index for index, outline in enumerate(values) if crosses_itself(outline)]
    assert crossing_outlines(values) == alone


def test_long_outlines_among_many_short_ones_are_found_in_their_places() -> None:
    bow, square = [0, 0, 9, 9, 9, 0, 0, 9], [0, 0, 9, 0, 9, 9, 0, 9]
    long = [*range(600), 600, 700, 0, 700, 300, 0]
    many = [*[square] * 1200, bow, long, *[square] * 900, bow]
    assert crossing_outlines(many) == [i for i, values in enumerate(many) if crosses_itself(values)]
    assert {1200, 2102} <= set(crossing_outlines(many))
    assert crossing_outlines([]) == []


def test_outlines_that_only_touch_themselves_do_not_cross() -> None:
    assert not crosses_itself([0, 0, 9, 0, 9, 9, 0, 9])
    assert not crosses_itself([0, 0, 9, 0, 9, 9, 0, 9, 0, 0])  # closed by its first point
    assert not crosses_itself([0, 0, 4, 4, 8, 0, 8, 8, 4, 4, 0, 8])  # two triangles at a corner
    assert not crosses_itself([0, 0, 9, 0, 0, 0])  # no area


def test_a_bow_tie_crosses_itself() -> None:
    assert crosses_itself([0, 0, 9, 9, 9, 0, 0, 9])
    assert crosses_itself([4, 0, 4, 9, 0, 5, 9, 5.5])  # one of the edges stands upright


def test_a_long_outline_takes_no_pairs_of_all_edges() -> None:
    around = [(x, 0) for x in range(5000)] + [(x, 9) for x in range(5000, 0, -1)]
    assert not crosses_itself([value for pair in around for value in pair])
