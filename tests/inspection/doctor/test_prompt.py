"""Questions that do not fit their answers."""

import pytest

from coordexp.config.custom import default_user_prompt
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject
from coordexp.data.plan.class_lists import ClassLists
from coordexp.inspection.doctor.prompt import judged_mix, judged_prompt
from coordexp.inspection.survey.class_mix import ClassMix

BOXES = default_user_prompt(["bbox_2d"])


@pytest.mark.parametrize(
    ("question", "kinds", "expected"),
    [
        (BOXES, {"bbox_2d"}, ""),
        (BOXES, {"poly"}, "the question asks for bbox_2d, the answers hold poly"),
        (BOXES, {"poly", "bbox_2d"}, "asks for bbox_2d, the answers hold bbox_2d and poly"),
        (default_user_prompt(["poly"]), {"bbox_2d"}, "asks for poly, the answers hold bbox_2d"),
        (default_user_prompt(["bbox_2d", "line"]), {"line", "bbox_2d"}, ""),
        ("Follow every line and polygon.", {"bbox_2d"}, ""),
        ("Give a bbox_2d each.", {"line"}, "asks for bbox_2d, the answers hold line"),
        (BOXES, set(), ""),
    ],
)
def test_geometries_are_compared(question: str, kinds: set[str], expected: str) -> None:
    found = judged_prompt(question, None, kinds, {"a"})
    assert (found.verdict == "yellow") == bool(expected)
    assert expected in found.found


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["cat", "dog"], ""),
        (["cat", "dog", "cow"], "no object is called 'cow'"),
        (["Cat ", "cat", "dog"], "no object is called 'Cat '; 'cat' differs from 'Cat ' in case"),
        (["cat"], "the answers hold 'dog', which custom.classes does not list"),
        ([f"c{k}" for k in range(9)], "'c4' and 4 more"),
    ],
)
def test_classes_are_compared_with_the_descs(classes: list[str], expected: str) -> None:
    found = judged_prompt("Find {classes}.", classes, {"bbox_2d"}, {"cat", "dog"})
    assert (found.verdict == "yellow") == bool(expected)
    assert expected in found.found


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    found = judged_prompt(BOXES, ["cow"], {"poly"}, {"cat"})
    for words in ("the answers hold poly", "no object is called 'cow'", "the answers hold 'cat'"):
        assert words in found.found
    assert found.advice.count("; ") == 2


def mix_of(*scenes: tuple[str, ...], vocabulary: tuple[str, ...], **changes: float) -> ClassMix:
    lists = ClassLists(vocabulary, most=int(changes.get("most", 2)), empty_share=0.0)
    mix = ClassMix(lists, seed=0)
    box = Geometry("bbox_2d", (1, 2, 3, 4), "px")
    for index, descs in enumerate(scenes):
        objects = tuple(RecordObject(desc, box) for desc in descs)
        mix.count(Record(("a.png",), 9, 9, objects), index)
    return mix


def test_what_questions_name_is_told() -> None:
    mix = mix_of(*[("cat", "cat")] * 9, vocabulary=("cat", "dog"), most=1)
    found = judged_mix(mix, {"cat"})
    assert found.verdict == "green"
    assert mix.there == {"cat": 9}
    assert 0 < mix.not_there["dog"] < 9
    assert f"{mix.not_there['dog'] / 9:.1f} of them absent; 0 of 9 records" in found.found
    mixed, by_class = found.sheets
    assert mixed.rows[0] == ["records whose question names classes", "9"]
    assert by_class.rows[0] == ["cat", "9", "0"]


def test_lists_that_give_the_answer_away_are_doubted() -> None:
    found = judged_mix(mix_of(("cat",), vocabulary=()), {"cat"})
    assert found.verdict == "yellow"
    assert "no question names an absent class" in found.found
    assert "federated.absent" in found.advice


def test_classes_that_the_file_lacks_are_named() -> None:
    found = judged_mix(mix_of(*[("cat",)] * 9, vocabulary=("cat", "dog")), {"cat", "yak"})
    assert found.verdict == "yellow"
    assert "'yak' are not in custom.class_list.file" in found.found
