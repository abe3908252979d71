import pytest

from coordexp.evaluation.measure.breakdown import (
    find_repeats,
    recall_by_count,
    recall_by_size,
    referring_accuracy,
    repeats_to_json,
)
from tests.evaluation.conftest import make_instances, make_matches, make_row

BOX = (10, 10, 50, 50)
NEAR = (10, 10, 50, 40)  # IoU 3/4 with BOX
AGAIN = (10, 10, 50, 49)  # IoU 0.975 with BOX
SMALL, LARGE = (0, 0, 10, 10), (100, 50, 200, 160)


def test_an_object_said_again_is_a_repeat_of_the_surest() -> None:
    rows = [make_row([("cat", BOX)], [("cat", AGAIN, 0.5), ("cat", BOX, 0.9), ("dog", BOX, 0.4)])]
    found = find_repeats(make_instances(rows))
    assert found.repeats.tolist() == [True, False, False]
    assert found.bursts.tolist() == [2]


def test_of_equally_sure_ones_the_first_stays() -> None:
    found = find_repeats(make_instances([make_row((), [("cat", BOX, 1.0), ("cat", AGAIN, 1.0)])]))
    assert found.repeats.tolist() == [False, True]


def test_a_burst_is_counted_by_image_and_f1_told_without_it() -> None:
    rows = [make_row([("cat", BOX)], [("cat", BOX, 0.9 - k / 10) for k in range(4)]), make_row()]
    found = make_instances(rows)
    told = repeats_to_json(found, find_repeats(found))
    assert (told["objects"], told["share"]) == (3, 0.75)
    assert (told["images_with_burst"], told["burst_rate"], told["longest_burst"]) == (1, 0.5, 4)
    assert told["F1@0.5_without"] == 1.0


def test_a_chain_of_shifted_boxes_is_cut_where_it_leaves_the_first() -> None:
    # Each overlaps the next by 0.905, the first and the last by 0.818 only.
    chain = [("cat", (10 + 2 * k, 10, 50 + 2 * k, 50), 0.9 - k / 10) for k in range(3)]
    assert find_repeats(make_instances([make_row((), chain)])).repeats.tolist() == [
        False,
        True,
        False,
    ]


def test_recall_by_size_by_hand() -> None:
    rows = [make_row([("a", SMALL), ("a", BOX), ("a", LARGE)], [("a", NEAR, 0.5)])]
    small, medium, large = recall_by_size(make_matches(rows))
    assert (small["true"], small["recall@0.5"]) == (1, 0.0)
    assert (medium["recall@0.5"], medium["recall@0.75"]) == (1.0, 1.0)
    assert medium["recall"] == pytest.approx(0.6)
    assert large["size"] == "large"


def test_recall_by_count_groups_by_powers_of_two_and_leaves_crowds_out() -> None:
    boxes = [(x, 0, x + 9, 9) for x in range(0, 60, 10)]
    crowd = make_row([("a", BOX), ("a", LARGE)], [("a", BOX, 0.5)])
    crowd["gt"][1]["iscrowd"] = 1
    rows = [crowd, make_row([("a", box) for box in boxes], [("a", boxes[0], 0.5)])]
    one, few, many = recall_by_count(make_matches(rows))
    assert (one["objects"], one["images"], one["true"], one["recall@0.5"]) == ("1", 1, 1, 1.0)
    assert (few["objects"], few["images"], few["recall@0.5"]) == ("2-3", 0, None)
    assert (many["objects"], many["true"], many["recall@0.5"]) == ("4-7", 6, pytest.approx(1 / 6))


def test_referring_accuracy_looks_at_the_surest_box_whatever_it_is_called() -> None:
    rows = [
        make_row([("the left cat", BOX)], [("cat", NEAR, 0.9), ("the left cat", BOX, 0.1)]),
        make_row([("the dog", BOX)], [("the dog", BOX, 0.2)]),
        make_row([("a bird", BOX)]),
        make_row([("a", BOX), ("a", SMALL)], [("a", BOX, 0.9)]),
    ]
    told = referring_accuracy(make_matches(rows))
    assert told["expressions"] == 3
    assert [told[f"accuracy@{iou}"] for iou in (0.5, 0.75, 0.9)] == pytest.approx(
        [2 / 3, 2 / 3, 1 / 3]
    )


def test_without_single_objects_there_is_no_referring_accuracy() -> None:
    assert referring_accuracy(make_matches([make_row()]))["accuracy@0.5"] is None
