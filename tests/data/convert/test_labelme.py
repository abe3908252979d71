from pathlib import Path

import pytest

from coordexp.data.convert.mapping import Choice
from tests.data.convert.sources import convert, write_labelme

PREFER = Choice(geometry="prefer-poly")


def shape(kind: str, points: object, label: object = "cat", **more: object) -> dict[str, object]:
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, **more}


def test_every_kind_of_shape(tmp_path: Path) -> None:
    src = write_labelme(
        tmp_path,
        shape("rectangle", [[30, 20], [10, 5]]),
        shape("polygon", [[1, 1], [9, 1], [9, 9]]),
        shape("circle", [[20, 20], [23, 24]]),
        shape("line", [[9, 9], [1, 1]]),
        shape("linestrip", [[1, 1], [5, 5], [9, 1]]),
        shape("mask", [[2, 3], [2, 3]]),
        shape("point", [[1, 1]]),
    )
    done = convert(src, tmp_path / "out.jsonl", PREFER)
    assert done.kind == "labelme"
    assert [item.geometry.kind for item in done.records[0].objects] == [
        *("bbox_2d", "poly", "bbox_2d", "line", "line", "bbox_2d")
    ]
    assert [values for _, values in done.things[0]] == [
        (10, 5, 30, 20),
        (1, 1, 9, 1, 9, 9),
        (15, 15, 25, 25),
        (9, 9, 1, 1),
        (1, 1, 5, 5, 9, 1),
        (2, 3, 3, 4),
    ]
    assert done.counts == {"dropped: a shape of type 'point', which has no extent": 1}


def test_a_group_is_one_thing_in_pieces(tmp_path: Path) -> None:
    src = write_labelme(
        tmp_path,
        shape("polygon", [[1, 1], [9, 1], [9, 9]], group_id=0),
        shape("polygon", [[20, 1], [29, 1], [29, 9]], group_id=0),
        shape("polygon", [[30, 1], [39, 1], [39, 9]], label="dog", group_id=0),
    )
    done = convert(src, tmp_path / "out.jsonl")
    assert done.things == [[("cat", (1, 1, 29, 9)), ("dog", (30, 1, 39, 9))]]


def test_what_labelme_ignores_is_left_out(tmp_path: Path) -> None:
    src = write_labelme(tmp_path, shape("rectangle", [[1, 1], [2, 2]], label="__ignore__"))
    done = convert(src, tmp_path / "out.jsonl", strict=True)
    assert done.things == [[]]


def test_pictures_may_lie_in_another_folder_of_the_dataset(tmp_path: Path) -> None:
    write_labelme(tmp_path / "images", image="..\\images\\a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "a.json").rename(tmp_path / "labels" / "a.json")
    assert convert(tmp_path, tmp_path / "out.jsonl").records[0].image == "images/a.png"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (shape("rectangle", [[1, 1]]), "too few coordinates"),
        (shape("polygon", [[1, 1], [2, 2]]), "too few coordinates"),
        (shape("polygon", [[1, 1], [2, 2], [3]]), "a point that is not x and y"),
        (shape("polygon", "points"), "coordinates that are no list of numbers"),
        (shape("rectangle", [[1, 1], [float("nan"), 2]]), "coordinates that are no finite numbers"),
        (shape("rectangle", [[1, 1], [2, 2]], label=3), "a shape without a label"),
        (
            {**shape("polygon", []), "shape_type": {"a": 1}},
            "a shape of type {'a': 1}, which has no extent",
        ),
        (shape("line", [[1, 1], [200, 2]]), "a line that leaves the picture"),
    ],
)
def test_broken_shapes_are_dropped(tmp_path: Path, broken: dict[str, object], reason: str) -> None:
    src = write_labelme(tmp_path, broken)
    done = convert(src, tmp_path / "out.jsonl", PREFER)
    assert done.counts == {f"dropped: {reason}": 1, "noted: no objects: the answer is {}": 1}
