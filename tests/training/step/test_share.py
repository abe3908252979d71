import pytest
import torch
from torch import Tensor
from transformers import TrainingArguments

from coordexp.data.plan.schedule import FixedBatches, InFileOrder, Schedule, Shuffled
from coordexp.training.step.feed import RECORDS, Feed
from coordexp.training.step.share import FeedShare, evaluation_share, feed_of, training_share

ELEVEN = list(range(11))


def collate(numbers: list[int]) -> dict[str, Tensor]:
    return {"numbers": torch.tensor(numbers)}


def share_of(rank: int = 0, ranks: int = 1, accumulation: int = 2) -> FeedShare:
    plan = FixedBatches(InFileOrder(range(11)), 2)  # 6 batches
    schedule = Schedule(plan=plan, world_size=ranks, accumulation=accumulation)
    return FeedShare(Feed(ELEVEN, plan, collate), schedule, rank)


def arguments(**changes: object) -> TrainingArguments:
    settings = {"per_device_train_batch_size": 4, "use_cpu": True, "dataloader_pin_memory": False}
    return TrainingArguments("out", report_to="none", **(settings | changes))


def records(share: FeedShare) -> list[list[int]]:
    return [batch[RECORDS].tolist() for batch in share.loader(arguments())]


def test_the_shares_of_two_ranks_are_all_records_once() -> None:
    shares = [records(share_of(rank, ranks=2)) for rank in (0, 1)]
    assert [len(share) for share in shares] == [3, 3]
    assert sorted(index for share in shares for batch in share for index in batch) == ELEVEN


@pytest.mark.parametrize(
    ("max_steps", "epochs", "expected"),
    # 6 passes, 3 steps an epoch.
    [(-1, 2.0, (2, 6)), (-1, 1.5, (2, 5)), (4, 1.0, (2, 4)), (3, 9.0, (1, 3)), (-1, 0.1, (1, 1))],
)
def test_a_run_is_as_long_as_its_steps_or_its_epochs(
    max_steps: int, epochs: float, expected: tuple[int, int]
) -> None:
    assert share_of().run_length(max_steps, epochs) == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, (0, 0)), (1, (0, 2)), (3, (1, 0)), (4, (1, 2)), (5, (2, 0)), (6, (2, 0))],
)
def test_a_run_goes_on_behind_its_step_and_not_at_all_behind_its_last(
    step: int, expected: tuple[int, int]
) -> None:
    assert share_of().place_in_run(step, 5, 2) == expected


def test_an_epoch_has_its_own_length() -> None:
    assert share_of().begin_epoch(1) == (6, 3)
    assert share_of(ranks=2).begin_epoch(0) == (3, 2)


def test_records_are_named() -> None:
    share = share_of()
    batch = next(iter(share.loader(arguments())))
    assert share.places(batch) == ["record 0", "record 1"]
    assert share.places({}) == []


def test_a_plain_dataset_is_shuffled_from_the_seed_and_evaluated_in_order() -> None:
    training = training_share(ELEVEN, collate, arguments(data_seed=9), shuffles=True)
    assert [len(batch) for batch in records(training)] == [4, 4, 3]
    assert [index for batch in records(training) for index in batch] == Shuffled(
        range(11), 9
    ).records(0)
    unasked = training_share(ELEVEN, collate, arguments(data_seed=9), shuffles=False)
    evaluation = evaluation_share(ELEVEN, collate, arguments(per_device_eval_batch_size=11))
    assert records(evaluation) == [ELEVEN]
    assert [index for batch in records(unasked) for index in batch] == ELEVEN


def test_the_seed_of_a_run_orders_its_data_where_there_is_no_other() -> None:
    share = training_share(ELEVEN, collate, arguments(seed=5), shuffles=True)
    assert [index for batch in records(share) for index in batch] == Shuffled(range(11), 5).records(
        0
    )


def test_a_feed_brings_its_own_plan() -> None:
    feed = Feed(ELEVEN, FixedBatches(InFileOrder(range(3)), 1), collate)
    assert feed_of(feed, collate, batch_size=7, shuffle_seed=1) is feed
