from coordexp.evaluation.measure.mistakes import (
    MISTAKE_KINDS,
    confusions_to_json,
    find_mistakes,
)
from tests.evaluation.conftest import make_matches, make_random_rows, make_row

BOX, FAR = (10, 10, 50, 50), (100, 100, 140, 140)
POOR = (10, 10, 30, 26)  # IoU 0.2 with BOX


def test_each_kind_by_hand() -> None:
    pred = [
        ("cat", BOX, 0.9),  # right
        ("cat", BOX, 0.8),  # the same again
        ("cat", POOR, 0.7),
        ("dog", BOX, 0.6),
        ("dog", (150, 10, 190, 50), 0.5),
        ("cow", FAR, 0.4),
    ]
    matches = make_matches([make_row([("cat", BOX), ("dog", FAR)], pred)])
    found = find_mistakes(matches)
    kinds = [MISTAKE_KINDS[kind] if kind >= 0 else "" for kind in found.kind.tolist()]
    expected = ["", "duplicate", "poor box", "wrong class", "hallucination", "wrong class"]
    assert kinds == expected
    assert found.missed.tolist() == [False, True]
    assert found.taken_for.tolist() == [-1, -1, -1, 0, -1, 1]
    assert found.counts() == {
        "miss": 1,
        "duplicate": 1,
        "wrong class": 2,
        "poor box": 1,
        "hallucination": 1,
    }
    assert confusions_to_json(matches, found) == [
        {"true": "cat", "predicted": "dog", "count": 1},
        {"true": "dog", "predicted": None, "count": 1},
    ]


def test_a_wrong_class_is_taken_for_what_it_overlaps_most() -> None:
    truth = [("cat", BOX), ("dog", (10, 10, 50, 45))]
    found = find_mistakes(make_matches([make_row(truth, [("cow", (10, 10, 50, 46), 0.5)])]))
    assert found.taken_for.tolist() == [1]


def test_what_lies_in_a_crowd_is_no_mistake() -> None:
    row = make_row([("cat", BOX)], [("cat", (12, 12, 20, 20), 0.5)])
    row["gt"][0]["iscrowd"] = 1
    found = find_mistakes(make_matches([row]))
    assert (found.kind.tolist(), found.missed.tolist()) == ([-1], [False])


def test_mistakes_add_up_to_false_positives_and_negatives() -> None:
    matches = make_matches(make_random_rows(4, images=12, crowds=True))
    found = find_mistakes(matches)
    assert (found.kind >= 0).sum() == (matches.judged[0] & ~matches.correct[0]).sum()
    real = matches.instances.truth.counted.sum()
    assert found.missed.sum() + matches.correct[0].sum() == real
