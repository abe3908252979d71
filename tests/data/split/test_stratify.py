"""Every class is in every part by its share, as far as groups allow."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.split.stratify import Group, stratified

SHARES = (0.8, 0.1, 0.1)


def scenes(count: int, seed: int) -> list[Group]:
    """Return records of one to four classes out of ten, of which some are rare."""
    draw = random.Random(seed)
    names, weights = list("abcdefghij"), [1 / (k + 1) for k in range(10)]
    return [
        Group(1, Counter(set(draw.choices(names, weights, k=draw.randint(1, 4)))))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_parts_have_their_size_and_their_share_of_every_class(seed: int) -> None:
    groups = scenes(1000, seed)
    chosen = stratified(groups, SHARES, seed=seed)
    assert sorted(Counter(chosen).values()) == [100, 100, 800]
    totals = Counter(name for group in groups for name in group.classes)
    for part, share in enumerate(SHARES):
        held = Counter(
            name
            for group, at in zip(groups, chosen, strict=True)
            if at == part
            for name in group.classes
        )
        for name, total in totals.items():
            assert abs(held[name] - share * total) <= 2 + 0.02 * total, (part, name)


def test_a_rare_class_goes_where_its_share_is() -> None:
    groups = [*scenes(97, 0), *[Group(1, {"rare": 1})] * 3]
    assert len(set(stratified(groups, (0.5, 0.5), seed=0)[-3:])) == 2
    # Of three records a tenth is nearer to none than to one.
    assert set(stratified(groups, SHARES, seed=0)[-3:]) == {0}


def test_another_seed_deals_out_otherwise_and_the_same_alike() -> None:
    groups = scenes(200, 0)
    assert stratified(groups, SHARES, seed=1) == stratified(groups, SHARES, seed=1)
    assert stratified(groups, SHARES, seed=1) != stratified(groups, SHARES, seed=2)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    shares=st.sampled_from([(0.5, 0.5), SHARES, (0.9, 0.1)]),
    seed=st.integers(0, 3),
)
def test_every_group_has_a_part_and_no_part_is_over_by_more_than_one(
    sizes: list[int], shares: tuple[float, ...], seed: int
) -> None:
    groups = [Group(size, {"a": size} if size % 2 else {}) for size in sizes]
    chosen = stratified(groups, shares, seed=seed)
    assert set(chosen) <= set(range(len(shares)))
    for part, share in enumerate(shares):
        held = [group.lines for group, at in zip(groups, chosen, strict=True) if at == part]
        assert sum(held) <= share * sum(sizes) + max(sizes)
