"""What looks wrong is warned of where it is planted, and nowhere else."""

import json
from pathlib import Path

import pytest

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.audit import suspicion as audit_suspicion
from coordexp.data.audit.audit import audit_files

Row = dict[str, object]


def row(number: int, *objects: object, width: int = 640, height: int = 480) -> Row:
    image = f"{number:03}.png"
    return {"images": [image], "width": width, "height": height, "objects": list(objects)}


def box(*values: float, desc: str = "cat") -> Row:
    return {"desc": desc, "bbox_2d": list(values)}


def tokens(*bins: int) -> Row:
    return {"desc": "cat", "bbox_2d": [f"<|coord_{k}|>" for k in bins]}


def warned(folder: Path, *lines: Row) -> list[tuple[str, int | None, int | None]]:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    report = audit_files([path], images=False, alphabet=SPEC_ALPHABET)
    assert report.total("violation") == 0
    return [
        (finding.rule.name, place.line, place.obj)
        for finding in report.findings
        for place in finding.places
    ]


def test_fractions_of_the_picture_are_warned_of(tmp_path: Path) -> None:
    lines = [row(1, box(5, 5, 9, 9), box(0.1, 0.2, 0.9, 1)), row(2, box(0.5, 0.5, 1, 1.5))]
    assert warned(tmp_path, *lines) == [("normalised-0-1", 1, 1)]


def test_fractions_of_large_pictures_are_not_taken_for_numbers_up_to_1000(tmp_path: Path) -> None:
    lines = [row(k, box(0.1, 0.01 * k, 0.5, 0.9), width=4000, height=3000) for k in range(9)]
    assert {name for name, _, _ in warned(tmp_path, *lines)} == {"normalised-0-1"}


def test_a_picture_of_two_pixels_may_have_small_coordinates(tmp_path: Path) -> None:
    assert warned(tmp_path, row(1, box(0, 0, 1, 1), width=2, height=2)) == []


def test_numbers_up_to_1000_on_larger_pictures_are_warned_of(tmp_path: Path) -> None:
    lines = [row(k, box(k, 9, 1000 - k, 700), width=4000, height=3000) for k in range(4)]
    expected = [("normalised-0-1000", line, None) for line in (1, 2, 3, 4)]
    assert warned(tmp_path, *lines) == expected


def test_one_object_in_the_corner_of_a_large_picture_is_no_evidence(tmp_path: Path) -> None:
    assert warned(tmp_path, row(1, box(9, 9, 700, 700), width=4000, height=3000)) == []


def test_objects_in_a_corner_are_no_evidence_where_others_reach_further(tmp_path: Path) -> None:
    size = {"width": 4000, "height": 3000}
    near = [row(k, box(k, 9, 700, 700), **size) for k in range(5)]
    far = [row(10 + k, box(k, 9, 3500, 2500), **size) for k in range(6)]
    assert warned(tmp_path, *near, *far) == []


def test_pictures_no_larger_than_1000_and_tokens_are_no_evidence(tmp_path: Path) -> None:
    small = [row(k, box(k, 9, 900, 900), width=1000, height=1000) for k in range(9)]
    bins = [row(10 + k, tokens(k, 0, 9, 9), width=4000, height=3000) for k in range(9)]
    assert warned(tmp_path, *small, *bins) == []


def test_one_box_again_and_again_is_warned_of_at_its_first_place(tmp_path: Path) -> None:
    constant = [row(k, box(9, 9, 99, 99)) for k in range(10)]
    others = [row(20 + k, box(k, 9, 99, 99)) for k in range(8)]
    assert warned(tmp_path, *others, *constant) == [("constant-box", 9, 0)]


def test_boxes_around_the_whole_picture_count_as_one_whatever_its_size(tmp_path: Path) -> None:
    pixels = [row(k, box(0, 0, 100 + k, 100), width=100 + k, height=100) for k in range(6)]
    bins = [row(10 + k, tokens(0, 0, 999, 999)) for k in range(6)]
    assert warned(tmp_path, *pixels, *bins) == [("constant-box", 1, 0)]


def test_a_few_equal_boxes_are_nothing(tmp_path: Path) -> None:
    assert warned(tmp_path, *[row(k, box(9, 9, 99, 99)) for k in range(9)]) == []
    among = [row(k, box(9, 9, 99, 99) if k < 12 else box(k, 9, 200, 99)) for k in range(100)]
    assert warned(tmp_path, *among) == []


def test_a_frequent_box_is_found_among_more_boxes_than_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_suspicion, "MOST_BOXES", 8)
    lines = [row(k, box(9, 9, 99, 99) if k % 2 else box(k, 0, 200, 99)) for k in range(60)]
    assert warned(tmp_path, *lines) == [("constant-box", 2, 0)]


def test_the_same_object_twice_in_a_record_is_warned_of(tmp_path: Path) -> None:
    twice = row(1, box(1, 2, 3, 4), box(5, 6, 7, 8), box(1, 2, 3, 4))
    other = row(2, box(1, 2, 3, 4), box(1, 2, 3, 4, desc="dog"))
    assert warned(tmp_path, twice, other) == [("duplicate-object", 1, 2)]


def test_a_crowd_over_an_object_is_no_double(tmp_path: Path) -> None:
    crowd = {**box(1, 2, 3, 4), "iscrowd": 1}
    bow = {"desc": "tie", "poly": [0, 0, 9, 9, 9, 0, 0, 9], "ignore": 1}
    assert warned(tmp_path, row(1, box(1, 2, 3, 4), crowd, crowd, bow)) == []


def test_polygons_that_cross_themselves_are_counted(tmp_path: Path) -> None:
    good = {"desc": "rug", "poly": [0, 0, 9, 0, 9, 9, 0, 9]}
    bow = {"desc": "tie", "poly": [0, 0, 9, 9, 9, 0, 0, 9]}
    line = {"desc": "leash", "line": [0, 0, 9, 9, 9, 0, 0, 9]}
    assert warned(tmp_path, row(1, good, bow, line)) == [("crossing-polygon", 1, 1)]
