import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.contract.federated import Federated
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import Record, RecordObject
from coordexp.errors import InputError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rewards.reward import TERMS, Rewards, rewards
from coordexp.rewards.weights import STARTING_WEIGHTS
from tests.rendering.plain import PLAIN_STYLE
from tests.rewards.conftest import Thing, Worth, record, said, things

SCENE: list[Thing] = [
    ("cat", (100, 100, 300, 300)),
    ("cat", (400, 100, 600, 300)),
    ("dog", (100, 500, 300, 800)),
    ("dog", (500, 500, 900, 800)),
]
ALL = dict.fromkeys(TERMS, 1.0)
corner = st.integers(0, 900)
boxes = st.tuples(corner, corner, st.integers(0, 99), st.integers(0, 99)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)
scenes = st.lists(st.tuples(st.sampled_from(["cat", "dog", "yak"]), boxes), max_size=5)


def reward(
    texts: list[str], records: list[Record], weights: dict[str, float], longest: int = 30
) -> Rewards:
    return rewards(
        texts,
        records,
        style=PLAIN_STYLE,
        end_marks=QWEN3_VL.end_marks,
        longest=longest,
        weights=weights,
    )


def total(answer: str | list[Thing], truth: list[Thing] = SCENE) -> float:
    text = answer if isinstance(answer, str) else said(answer)
    return float(reward([text], [record(truth)], dict(STARTING_WEIGHTS)).total[0])


def shifted(scene: list[Thing], bins: int) -> list[Thing]:
    return [(desc, [value + bins for value in values]) for desc, values in scene]


def test_the_truth_is_worth_all_there_is(worth: Worth) -> None:
    assert total(SCENE) == pytest.approx(1.0)
    assert total("{}", []) == pytest.approx(1.0)
    assert [value for value in worth(SCENE, SCENE).values() if not math.isnan(value)] == [1.0] * 4


@given(scenes, scenes)
def test_every_term_stays_between_0_and_1(answer: list[Thing], truth: list[Thing]) -> None:
    truth = [item for item in truth if item[1][0] < item[1][2] and item[1][1] < item[1][3]]
    found = reward([said(answer)], [record(truth)], ALL)
    for values in (found.total, *found.terms.values()):
        assert all(np.isnan(value) or 0 <= value <= 1 for value in values)


@given(st.lists(st.tuples(scenes, scenes), min_size=1, max_size=4))
def test_an_answer_is_worth_the_same_whatever_else_is_in_the_batch(
    pairs: list[tuple[list[Thing], list[Thing]]],
) -> None:
    texts, records = [said(a) for a, _ in pairs], [record(t) for _, t in pairs]
    together = reward(texts, records, ALL)
    for k, (text, one) in enumerate(zip(texts, records, strict=True)):
        alone = reward([text], [one], ALL)
        assert together.total[k] == pytest.approx(alone.total[0], nan_ok=True)


@given(st.permutations(range(len(SCENE))))
def test_the_order_of_the_answer_is_worth_nothing(order: list[int]) -> None:
    near = shifted(SCENE, 15)
    assert total([near[place] for place in order]) == pytest.approx(total(near))


def test_better_boxes_are_worth_more_all_the_way() -> None:
    worth = [total(shifted(SCENE, bins)) for bins in (0, 5, 15, 40, 70)]
    assert worth == sorted(worth, reverse=True)
    assert len(set(worth)) == len(worth)


def test_exact_pixels_and_bins_are_worth_the_same() -> None:
    pixels = Geometry("bbox_2d", (64, 48, 192, 144), "px")
    text = said([("cat", (100, 100, 300, 300))])
    in_pixels = Record(("a.png",), 640, 480, (RecordObject("cat", pixels),))
    both = Record(
        ("a.png",),
        640,
        480,
        (RecordObject("cat", things([("cat", (100, 100, 300, 300))])[0].geometry, pixels),),
    )
    found = reward([text, text], [in_pixels, both], {"nearness": 1.0})
    assert found.total[0] == found.total[1] == pytest.approx(1, abs=0.01)


def test_text_that_is_no_answer_is_worth_nothing() -> None:
    for text in ("", "I see two cats.", "{", "[]"):
        assert total(text) == 0.0


class TestCheats:
    """What a policy can try, against an answer that is honest and no more than fair."""

    HONEST = total(shifted(SCENE, 20))  # IoUs of 0.7 and 0.8

    def test_an_honest_answer_is_worth_something(self) -> None:
        assert self.HONEST > 0.4

    def test_tiny_boxes_inside_the_true_ones_count_and_find_nothing(self, worth: Worth) -> None:
        tiny = [(desc, (b[0] + 50, b[1] + 50, b[0] + 53, b[1] + 53)) for desc, b in SCENE]
        assert worth(tiny, SCENE)["count"] == 1.0
        assert worth(tiny, SCENE)["found"] == 0.0
        assert worth(tiny, SCENE)["nearness"] < 0.01
        assert total(tiny) < self.HONEST / 3

    def test_one_giant_box_is_worth_what_its_object_fills(self, worth: Worth) -> None:
        giant: list[Thing] = [("dog", (0, 0, 999, 999))]
        assert worth(giant, SCENE)["nearness"] == pytest.approx(2 / 5 * 0.12, abs=0.01)
        assert total(giant) < self.HONEST / 3
        large: list[Thing] = [("dog", (100, 100, 999, 999))]
        assert worth(giant, large)["nearness"] == pytest.approx(0.81, abs=0.01)

    def test_one_safe_box_is_worth_its_share(self, worth: Worth) -> None:
        assert worth(SCENE[:1], SCENE)["found"] == pytest.approx(2 / 5)
        assert worth(SCENE[:1], SCENE)["nearness"] == pytest.approx(2 / 5)
        assert worth(SCENE[:1], SCENE)["count"] == pytest.approx(2 / 5)
        assert total(SCENE[:1]) < self.HONEST

    def test_duplicates_only_cost(self, worth: Worth) -> None:
        twice = worth([*SCENE, *SCENE], SCENE)
        assert [twice[name] for name in ("found", "nearness", "count")] == pytest.approx(
            [2 / 3] * 3
        )
        assert twice["form"] == 0.5
        assert total([*SCENE, SCENE[0]]) < total(SCENE)
        nearly = [*SCENE, ("cat", (101, 101, 301, 300))]
        assert worth(nearly, SCENE)["form"] == pytest.approx(4 / 5)

    def test_an_empty_answer_is_worth_its_form_alone(self, worth: Worth) -> None:
        empty = worth("{}", SCENE)
        assert (empty["found"], empty["nearness"], empty["count"]) == (0, 0, 0)
        assert total("{}") == pytest.approx(0.05 / 0.9)

    def test_a_box_for_each_class_pays_for_what_is_not_there(self, worth: Worth) -> None:
        spot = SCENE[0][1]
        shotgun = [(desc, spot) for desc in ("cat", "dog", "yak", "gnu", "emu", "ape")]
        assert worth(shotgun, SCENE)["found"] == pytest.approx(2 / 10)
        assert total(shotgun) < self.HONEST / 2

    def test_a_list_without_an_end_is_worth_less_the_longer_it_is(self, worth: Worth) -> None:
        many = [("cat", (k * 3, k, k * 3 + 3, k + 3)) for k in range(60)]
        assert worth(many, SCENE)["form"] == pytest.approx(30 / 60)
        cut = said(many)[:-20]
        assert worth(cut, SCENE)["form"] < 0.26
        assert total(many) < total(many[:40]) < 0.1

    def test_a_polygon_of_four_corners_is_worth_what_its_object_fills(self, worth: Worth) -> None:
        diamond: list[Thing] = [("kite", (500, 100, 900, 500, 500, 900, 100, 500))]
        square: list[Thing] = [("kite", (100, 100, 900, 100, 900, 900, 100, 900))]
        assert worth(diamond, diamond)["outlines"] == 1.0
        assert worth(square, diamond)["outlines"] == pytest.approx(0.5, abs=0.01)
        assert worth([*diamond, *diamond], diamond)["outlines"] == pytest.approx(2 / 3)
        assert worth([("kite", (100, 100, 900, 900))], diamond)["outlines"] == 0.0


def test_polygons_say_nothing_where_there_are_none(worth: Worth) -> None:
    assert math.isnan(worth(SCENE, SCENE)["outlines"])
    assert worth([("kite", (1, 1, 9, 1, 9, 9))], SCENE)["outlines"] == 0.0
    with_polygons = {"outlines": 0.5, "found": 0.5}
    assert reward([said(SCENE)], [record(SCENE)], with_polygons).total[0] == 1.0
    assert np.isnan(reward([said(SCENE)], [record(SCENE)], {"outlines": 1.0}).total[0])


def test_a_class_is_the_same_but_for_case_and_spaces(worth: Worth) -> None:
    assert worth([("Traffic  LIGHT", SCENE[0][1])], [("traffic light", SCENE[0][1])])["found"] == 1


def test_what_lies_on_a_crowd_or_was_not_searched_for_is_no_mistake() -> None:
    crowd = RecordObject("cat", things(SCENE)[1].geometry, marks=Marks(iscrowd=True))
    one = Record(("a.png",), 640, 480, (things(SCENE)[0], crowd))
    inside: list[Thing] = [SCENE[0], ("cat", (450, 150, 500, 200))]
    assert reward([said(inside)], [one], dict(STARTING_WEIGHTS)).total[0] == pytest.approx(1.0)
    partly = replace(record(SCENE[:1]), federated=Federated(("yak",), (), {}))
    more = [SCENE[0], ("gnu", SCENE[1][1])]
    assert reward([said(more)], [partly], {"found": 1, "count": 1}).total[0] == 1.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"f1": 1.0}, "no term 'f1'; there are count, form, found, nearness, outlines"),
        ({"found": -1.0}, "weight of found: expected a number from 0 on, got -1.0"),
        ({"found": math.nan}, "weight of found"),
        ({"found": 0.0}, "at least one weight above 0"),
        ({}, "at least one weight above 0"),
    ],
)
def test_weights_that_make_no_mean_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reward(["{}"], [record(SCENE)], weights)


def test_answers_and_records_go_together() -> None:
    with pytest.raises(InputError, match="got 2 answers and 1 records"):
        reward(["{}", "{}"], [record(SCENE)], ALL)
    with pytest.raises(InputError, match="got 0 answers"):
        reward([], [], ALL)


def test_starting_weights_name_every_term_and_sum_to_one() -> None:
    assert STARTING_WEIGHTS.keys() == TERMS.keys()
    assert sum(STARTING_WEIGHTS.values()) == pytest.approx(1)
