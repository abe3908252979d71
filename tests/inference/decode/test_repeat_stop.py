"""An answer that says nothing new ends before its repeats; any other stays as it is."""

from functools import cache

import pytest

from coordexp.data.contract.geometry import Geometry, GeometryKind
from coordexp.data.contract.record import RecordObject
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.rendering.encode import Encoder
from tests.inference.oracle import answer_ids, follow

STOP = RepeatStop(iou=0.95, in_a_row=2)


def thing(desc: str, *values: int, kind: GeometryKind = "bbox_2d") -> RecordObject:
    return RecordObject(desc=desc, geometry=Geometry(kind, values, "bin"))


CAT, DOG = thing("cat", 10, 20, 210, 220), thing("black dog", 300, 20, 400, 220)
NEAR_CAT = thing("cat", 11, 21, 211, 220)
OUTLINE = thing("cat", 10, 20, 210, 20, 210, 220, kind="poly")
LEASH = thing("leash", 0, 0, 90, 80, kind="line")


@cache
def grammar_of(speaker: Encoder, classes: tuple[str, ...] | None = None) -> AnswerGrammar:
    return AnswerGrammar(speaker, restrict_to=classes)


@pytest.mark.parametrize("jump", [True, False])
@pytest.mark.parametrize("classes", [None, ("cat", "black dog", "leash")])
@pytest.mark.parametrize(
    ("said", "new"),
    [
        ([CAT, *[CAT] * 5], 1),
        ([CAT, DOG, NEAR_CAT, DOG, CAT], 2),
        ([CAT, CAT, DOG, CAT, DOG, CAT], 3),
        ([OUTLINE, CAT, OUTLINE, OUTLINE, OUTLINE], 2),
        ([LEASH, OUTLINE, LEASH, OUTLINE, DOG], 2),
    ],
    ids=["one", "two in turn", "an accident before", "outlines", "outline and line"],
)
def test_a_loop_ends_before_its_first_repeat(
    speaker: Encoder,
    jump: bool,
    classes: tuple[str, ...] | None,
    said: list[RecordObject],
    new: int,
) -> None:
    row = follow(grammar_of(speaker, classes), answer_ids(speaker, said), jump=jump, stop=STOP)
    assert row.is_looping
    assert row.ids == answer_ids(speaker, said[:new])
    assert len(row.ids) == len(row.probabilities)
    numbers = sum(len(item.geometry.values) for item in said[:new])
    assert len(row.coord_logits) == numbers
    assert max(row.coord_logits) < len(row.ids)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [CAT],
        [CAT, NEAR_CAT, DOG],
        [CAT, CAT, DOG, DOG],
        [CAT, thing("cat", 10, 20, 190, 220), thing("cat", 30, 20, 210, 220)],
        [CAT, thing("dog", 10, 20, 210, 220), thing("cats", 10, 20, 210, 220)],
        [CAT, OUTLINE, thing("cat", 10, 20, 210, 220, kind="line")],
    ],
    ids=["nothing", "one", "an accident", "two accidents", "apart", "other descs", "other kinds"],
)
def test_what_says_something_new_stays(speaker: Encoder, said: list[RecordObject]) -> None:
    ids = answer_ids(speaker, said)
    row = follow(grammar_of(speaker), ids, stop=STOP)
    assert (row.ids, row.is_looping) == (ids, False)


def test_a_loop_costs_no_pass_beyond_its_repeats(speaker: Encoder) -> None:
    grammar = grammar_of(speaker)
    said = follow(grammar, answer_ids(speaker, [CAT] * 3)).passes
    stopped = follow(grammar, answer_ids(speaker, [CAT] * 40), stop=STOP).passes
    assert stopped == said - 1  # nobody is asked whether there is a fourth


def test_at_one_in_a_row_the_first_repeat_ends_it(speaker: Encoder) -> None:
    ids = answer_ids(speaker, [CAT, DOG, CAT, LEASH])
    row = follow(grammar_of(speaker), ids, stop=RepeatStop(iou=0.95, in_a_row=1))
    assert row.ids == answer_ids(speaker, [CAT, DOG])
