from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordexp.data.contract.marks import Marks
from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import coco_document, convert, write_coco

KEEP, ONLY = KeepRules(points="keep"), KeepRules(points="only")
NAMES = ["nose", "left_eye", "right_eye"]


def document(*annotations: dict[str, Any], names: object = NAMES) -> dict[str, Any]:
    found = coco_document(*({"bbox": [1, 2, 10, 20], **row} for row in annotations))
    found["categories"] = [{"id": 1, "name": "person", "keypoints": names, "skeleton": [[1, 2]]}]
    return found


def test_keypoints_are_named_points_beside_the_box(tmp_path: Path) -> None:
    row = {"keypoints": [5, 6, 2, 7.5, 8, 1, 0, 0, 0], "num_keypoints": 2}
    done = convert(write_coco(tmp_path, document(row)), tmp_path / "out.jsonl", KEEP)
    assert done.things == [
        [
            ("person", (1, 2, 11, 22)),
            ("person nose", (5, 6)),
            ("person left eye", (7.5, 8)),
        ]
    ]
    assert done.counts == {"dropped: a keypoint that is not labelled (v is 0)": 1}
    assert done.report.problems == ()


def test_without_being_asked_for_they_are_not_there(tmp_path: Path) -> None:
    src = write_coco(tmp_path, document({"keypoints": [5, 6, 2] * 3}))
    done = convert(src, tmp_path / "out.jsonl", strict=True)
    assert (done.things, done.counts) == ([[("person", (1, 2, 11, 22))]], {})


def test_points_alone_can_be_wanted_and_chosen_by_either_name(tmp_path: Path) -> None:
    src = write_coco(tmp_path, document({"keypoints": [5, 6, 2] * 3}))

    def named(number: int, choice: KeepRules) -> list[str]:
        done = convert(src, tmp_path / f"{number}.jsonl", choice)
        return [desc for desc, _ in done.things[0]]

    everything = ["person nose", "person left eye", "person right eye"]
    assert named(1, ONLY) == everything
    assert named(2, replace(ONLY, include=frozenset({"person"}))) == everything
    assert named(3, replace(ONLY, include=frozenset({"person nose"}))) == everything[:1]
    assert named(4, replace(ONLY, exclude=frozenset({"person nose"}))) == everything[1:]


@pytest.mark.parametrize("names", [None, [], ["nose"], "nose", [1, 2, 3]])
def test_keypoints_without_names_are_numbered(tmp_path: Path, names: object) -> None:
    src = write_coco(tmp_path, document({"keypoints": [5, 6, 2] * 3}, names=names))
    done = convert(src, tmp_path / "out.jsonl", ONLY)
    assert [desc for desc, _ in done.things[0]] == [f"person keypoint {k}" for k in (1, 2, 3)]


@pytest.mark.parametrize(
    ("keypoints", "reason"),
    [
        ([5, 6], "keypoints that are not x, y and v in turn"),
        ("5 6 2", "coordinates that are no list of numbers"),
        ([5, 6, "2"], "coordinates that are written as text"),
        ([5, float("inf"), 2], "coordinates that are no finite numbers"),
        ([65, 6, 2, 5, 6, 2, 5, 6, 2], "a point outside the picture"),
    ],
)
def test_broken_keypoints_are_dropped_and_counted(
    tmp_path: Path, keypoints: object, reason: str
) -> None:
    src = write_coco(tmp_path, document({"keypoints": keypoints}))
    done = convert(src, tmp_path / "out.jsonl", KEEP)
    assert done.things[0][0] == ("person", (1, 2, 11, 22))
    assert done.counts == {f"dropped: {reason}": 1}


def test_null_and_missing_keypoints_are_none(tmp_path: Path) -> None:
    src = write_coco(tmp_path, document({"keypoints": None}, {}, {"keypoints": []}))
    done = convert(src, tmp_path / "out.jsonl", KEEP, strict=True)
    assert [desc for desc, _ in done.things[0]] == ["person"] * 3
    with pytest.raises(InputError, match="every object was dropped"):
        convert(src, tmp_path / "only.jsonl", ONLY)


def test_points_of_a_crowd_are_as_little_taught_as_it_is(tmp_path: Path) -> None:
    row = {"keypoints": [5, 6, 2] * 3, "iscrowd": 1, "area": 99}
    done = convert(write_coco(tmp_path, document(row)), tmp_path / "out.jsonl", ONLY)
    assert {item.marks for item in done.records[0].objects} == {Marks(iscrowd=True)}
