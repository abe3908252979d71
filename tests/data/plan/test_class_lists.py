"""Which classes are asked for: a pure function of seed, epoch and record."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import Record, RecordObject
from coordexp.data.plan.class_lists import ClassLists
from coordexp.errors import RecordError

BOX = Geometry("bbox_2d", (1, 2, 3, 4), "px")
ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fox")


def record(
    *descs: str, crowds: tuple[str, ...] = (), absent: tuple[str, ...] | None = None
) -> Record:
    objects = [RecordObject(desc, BOX) for desc in descs]
    objects += [RecordObject(desc, BOX, marks=Marks(iscrowd=True)) for desc in crowds]
    searched = None if absent is None else Federated(absent, (), {})
    return Record(("a.png",), 9, 9, tuple(objects), federated=searched)


def lists(
    *, most: int = 3, empty_share: float = 0.0, vocabulary: tuple[str, ...] = ANIMALS
) -> ClassLists:
    return ClassLists(vocabulary, most, empty_share)


@given(
    there=st.sets(st.sampled_from(ANIMALS)),
    most=st.integers(0, 9),
    empty_share=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
    index=st.integers(0, 99),
)
def test_a_question_names_what_is_there_and_at_most_so_many_that_are_not(
    there: set[str], most: int, empty_share: float, seed: int, epoch: int, index: int
) -> None:
    drawn = lists(most=most, empty_share=empty_share)
    asked = drawn.asked(record(*sorted(there)), seed=seed, epoch=epoch, index=index)
    assert asked == drawn.asked(record(*sorted(there)), seed=seed, epoch=epoch, index=index)
    names = set(asked.names)
    assert len(names) == len(asked.names) > 0
    assert names <= set(ANIMALS)
    assert len(names - there) == asked.absent
    assert names & there == (there if asked.answered else set())
    assert asked.absent <= max(most, 0 if there and asked.answered else 1)


def test_seed_epoch_and_record_each_draw_anew() -> None:
    scene = record("ant", "cat")
    first = {"seed": 0, "epoch": 0, "index": 0}
    for key in first:
        draws = {lists().asked(scene, **{**first, key: k}).names for k in range(20)}
        assert len(draws) > 5, key


def test_numbers_of_absent_classes_and_the_order_are_even() -> None:
    scene = record("ant")
    drawn = [lists().asked(scene, seed=0, epoch=0, index=k) for k in range(2000)]
    numbers = Counter(asked.absent for asked in drawn)
    assert set(numbers) == {0, 1, 2, 3}
    assert min(numbers.values()) > 400  # of 500, by 5 standard deviations
    first = Counter(asked.names.index("ant") for asked in drawn if asked.absent == 3)
    assert min(first.values()) > 70


def test_the_share_that_is_asked_for_absent_classes_alone_is_the_one_given() -> None:
    scene = record("ant", "bee")
    drawn = [lists(empty_share=0.1).asked(scene, seed=3, epoch=1, index=k) for k in range(2000)]
    empty = [asked for asked in drawn if not asked.answered]
    assert 150 < len(empty) < 250
    assert all(1 <= asked.absent == len(asked.names) <= 3 for asked in empty)


def test_what_is_never_taught_is_neither_there_nor_absent() -> None:
    scene = record("ant", crowds=("bee",))
    for epoch in range(50):
        asked = lists(most=9, empty_share=0.5).asked(scene, seed=0, epoch=epoch, index=0)
        assert "bee" not in asked.names


def test_a_picture_of_crowds_alone_is_asked_for_them_where_nothing_is_absent() -> None:
    scene = record(crowds=("ant",))
    asked = lists(vocabulary=("ant",)).asked(scene, seed=0, epoch=0, index=0)
    assert asked.names == ("ant",)


def test_a_picture_that_was_not_searched_for_everything_is_asked_for_what_it_names() -> None:
    scene = record("ant", absent=("yak", "bee", "ant"))
    names = {
        name
        for epoch in range(50)
        for name in lists(most=9).asked(scene, seed=0, epoch=epoch, index=0).names
    }
    assert names == {"ant", "bee", "yak"}


def test_without_a_vocabulary_the_records_own_classes_are_drawn() -> None:
    own = lists(vocabulary=())
    assert own.asked(record("ant"), seed=0, epoch=0, index=0).names == ("ant",)
    assert own.asked(record(absent=("bee",)), seed=0, epoch=0, index=0).names == ("bee",)


def test_a_picture_that_nothing_is_known_of_cannot_be_asked() -> None:
    with pytest.raises(RecordError, match=r"no class to ask for.*federated.*prompt.*source: data"):
        lists(vocabulary=()).asked(record(), seed=0, epoch=0, index=0)


def test_two_unicode_forms_of_a_class_are_one() -> None:
    scene = record("a\u0308ffchen", "\u00e4ffchen")
    asked = lists(vocabulary=("\u00e4ffchen",), most=5).asked(scene, seed=0, epoch=0, index=0)
    assert asked.names == ("\u00e4ffchen",)


def test_a_record_draws_the_same_whatever_else_it_holds() -> None:
    scene = record("ant", "bee")
    other = replace(scene, metadata={"a": 1}, summary="two")
    draws = [lists().asked(each, seed=1, epoch=2, index=3) for each in (scene, other)]
    assert draws[0] == draws[1]
