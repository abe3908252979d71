from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers.repeats import without_repeats
from coordexp.data.contract.box_iou import box_ious
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.geometry_kinds import GeometryKind


@dataclass(frozen=True)
class Item:
    desc: str
    score: float
    geometry: Geometry


def item(desc: str, score: float, *values: float, kind: GeometryKind = "bbox_2d") -> Item:
    return Item(desc, score, Geometry(kind, values, "px"))


def test_the_surest_of_a_group_stays_in_its_place() -> None:
    items = [
        item("cat", 0.5, 0, 0, 100, 100),
        item("dog", 0.9, 0, 0, 100, 100),
        item("cat", 0.8, 0, 0, 100, 99),
        item("cat", 0.7, 50, 0, 100, 100),
        item("cat", 0.6, 0, 0, 100, 100, kind="line"),
    ]
    stays, repeats = without_repeats(items, 0.9)
    assert stays == [items[1], items[2], items[3], items[4]]
    assert repeats == [items[0]]


def test_a_chain_is_not_swallowed_by_its_first() -> None:
    """The third overlaps the second enough, but the second is gone, and the first is too far."""
    items = [item("a", 1 - x / 100, x, 0, x + 100, 10) for x in (0, 5, 10)]
    stays, _ = without_repeats(items, 0.9)
    assert stays == [items[0], items[2]]


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0),
        ((1, 1, 1, 5), (1, 1, 1, 5), 1),
        ((1, 1, 1, 5), (1, 1, 1, 6), 0),
    ],
)
def test_golden_overlaps(a: tuple[float, ...], b: tuple[float, ...], iou: float) -> None:
    assert box_ious(np.array(a), np.array([b, b])).tolist() == pytest.approx([iou, iou])


corners = st.lists(st.integers(0, 6), min_size=4, max_size=4).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]))
)
some_items = st.lists(
    st.builds(
        lambda desc, score, box: item(desc, score / 4, *box),
        st.sampled_from("ab"),
        st.integers(0, 4),
        corners,
    ),
    max_size=12,
)


@given(some_items, st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_what_stays_is_what_pairs_looked_at_one_by_one_leave(
    items: list[Item], least: float
) -> None:
    kept: list[int] = []
    for index in sorted(range(len(items)), key=lambda index: -items[index].score):
        one = np.array(items[index].geometry.values, dtype=float)
        if not any(
            items[other].desc == items[index].desc
            and box_ious(np.array(items[other].geometry.values, dtype=float), one[None])[0] >= least
            for other in kept
        ):
            kept.append(index)
    stays, repeats = without_repeats(items, least)
    assert stays == [item for index, item in enumerate(items) if index in kept]
    assert repeats == [item for index, item in enumerate(items) if index not in kept]
