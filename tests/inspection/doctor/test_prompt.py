"""Questions that do not fit their answers."""

import pytest

from coordexp.config.custom import default_user_prompt
from coordexp.inspection.doctor.prompt import judged_prompt

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
