from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.plan.schedule import (
    BatchPlan,
    FixedBatches,
    InFileOrder,
    PackedBatches,
    PackSettings,
    Schedule,
    Shuffled,
)

CAPACITY = 100
LENGTHS = [10 + 37 * number % 83 for number in range(40)]


def packed(
    *, records: int = 40, seed: int = 0, min_fill: float = 0.0, drop_last: bool = False
) -> PackedBatches:
    settings = PackSettings(CAPACITY, buffer=8, min_fill=min_fill, drop_last=drop_last)
    return PackedBatches(Shuffled(range(records), seed), LENGTHS, settings, seed=seed)


def fixed(*, records: int = 40, seed: int = 0, size: int = 3) -> FixedBatches:
    return FixedBatches(Shuffled(range(records), seed), size)


plans = st.one_of(
    st.builds(packed, records=st.integers(1, 40), seed=st.integers(0, 9)),
    st.builds(fixed, records=st.integers(1, 40), seed=st.integers(0, 9), size=st.integers(1, 50)),
)
schedules = st.builds(
    Schedule, plan=plans, world_size=st.integers(1, 5), accumulation=st.integers(1, 4)
)


@given(schedule=schedules, epoch=st.integers(0, 3))
def test_over_all_ranks_every_record_comes_once(schedule: Schedule, epoch: int) -> None:
    shares = [schedule.share(epoch, rank) for rank in range(schedule.world_size)]
    seen = Counter(index for share in shares for batch in share for index in batch)
    assert set(seen.values()) == {1}
    assert set(seen) == set(schedule.plan.order.records(epoch))  # type: ignore[attr-defined]


@given(schedule=schedules, epoch=st.integers(0, 3))
def test_every_rank_takes_as_many_passes(schedule: Schedule, epoch: int) -> None:
    shares = [schedule.share(epoch, rank) for rank in range(schedule.world_size)]
    assert {len(share) for share in shares} == {schedule.passes(epoch)}
    # Only the last pass can have an empty batch.
    assert all(batch for share in shares for batch in share[:-1])


@given(schedule=schedules, epoch=st.integers(0, 3))
def test_rank_r_takes_every_world_size_th_batch(schedule: Schedule, epoch: int) -> None:
    batches = schedule.plan.batches(epoch)
    for rank in range(schedule.world_size):
        share = [list(batch) for batch in schedule.share(epoch, rank) if batch]
        assert share == [list(batch) for batch in batches[rank :: schedule.world_size]]


@given(plan=plans, epoch=st.integers(0, 3))
def test_a_plan_counts_what_it_gives(plan: BatchPlan, epoch: int) -> None:
    assert plan.count(epoch) == len(plan.batches(epoch))


@given(schedule=schedules, done=st.integers(0, 60))
def test_a_run_goes_on_where_it_stopped(schedule: Schedule, done: int) -> None:
    """Count the steps one by one, and compare with where `locate` says they lead."""
    epoch, passes = 0, 0
    for _ in range(done):
        passes = min(passes + schedule.accumulation, schedule.passes(epoch))
        if passes == schedule.passes(epoch):
            epoch, passes = epoch + 1, 0
    assert schedule.locate(done) == (epoch, passes)
    whole = schedule.share(epoch, 0)
    assert schedule.share(epoch, 0, start=passes) == whole[passes:]


@given(schedule=schedules)
def test_steps_add_up_over_epochs(schedule: Schedule) -> None:
    assert schedule.total_steps(2) == schedule.steps(0) + schedule.steps(1)
    assert 0 < schedule.total_steps(0.5) <= schedule.steps(0)
    assert schedule.total_steps(1.5) > schedule.steps(0)
    assert schedule.locate(schedule.total_steps(2)) == (2, 0)


@given(size=st.sampled_from([1, 2, 3, 4, 6]), world_size=st.sampled_from([1, 2, 4]))
def test_a_step_holds_the_same_records_however_it_is_split(size: int, world_size: int) -> None:
    step = 48  # records in a step
    whole = Schedule(fixed(records=96, size=step), 1, 1)
    cut = Schedule(fixed(records=96, size=size), world_size, step // size // world_size)
    for number in range(2):
        epoch, passes = cut.locate(number)
        shares = [
            cut.share(epoch, rank, start=passes)[: cut.accumulation] for rank in range(world_size)
        ]
        records = {index for share in shares for batch in share for index in batch}
        assert records == set(whole.share(0, 0)[number])


def test_plans_depend_on_seed_and_epoch_alone() -> None:
    for make in (packed, fixed):
        assert make(seed=1).batches(2) == make(seed=1).batches(2)
        assert make(seed=1).batches(2) != make(seed=1).batches(3)
        assert make(seed=1).batches(2) != make(seed=2).batches(2)


def test_asking_in_another_order_changes_nothing() -> None:
    plan, again = packed(), packed()
    forward = [plan.batches(epoch) for epoch in range(3)]
    assert [again.batches(epoch) for epoch in (2, 1, 0)] == forward[::-1]


def test_the_order_of_seed_0_and_epoch_0_stays() -> None:
    # Resuming depends on it: numpy must go on giving the same permutation.
    assert Shuffled(range(8), 0).records(0) == [2, 4, 3, 6, 5, 0, 1, 7]


def test_only_the_given_records_are_planned() -> None:
    kept = [3, 5, 8]
    assert sorted(Shuffled(kept, 0).records(1)) == kept
    assert FixedBatches(InFileOrder(kept), 2).batches(0) == [[3, 5], [8]]


def test_without_a_seed_packs_stay_in_order() -> None:
    settings = PackSettings(CAPACITY, buffer=1, min_fill=0.0, drop_last=False)
    plan = PackedBatches(InFileOrder(range(4)), [60, 40, 70, 30], settings, seed=None)
    assert plan.batches(0) == [[0, 1], [2, 3]]
    assert plan.fill(0) == 1.0


def test_dropping_the_last_leaves_out_the_emptiest_packs_at_the_end() -> None:
    # In order, buffer 1: packs (60, 40), (70,), (80,), (20) - the stream ends with the last one.
    settings = PackSettings(CAPACITY, buffer=1, min_fill=0.75, drop_last=True)
    plan = PackedBatches(InFileOrder(range(5)), [60, 40, 70, 90, 20], settings, seed=None)
    kept, dropped = plan.packs(0)
    assert kept == [[0, 1], [2], [3]]  # the second is too empty, but not at the end
    assert dropped == [[4]]
    assert plan.batches(0) == kept
    assert plan.left_out(0) == 1


@pytest.mark.parametrize("epoch", range(3))
def test_what_is_dropped_and_what_is_kept_is_everything(epoch: int) -> None:
    plan = packed(min_fill=0.95, drop_last=True)
    kept, dropped = plan.packs(epoch)
    assert dropped
    assert sorted(index for pack in [*kept, *dropped] for index in pack) == list(range(40))
    assert all(sum(LENGTHS[index] for index in pack) < 95 for pack in dropped)
