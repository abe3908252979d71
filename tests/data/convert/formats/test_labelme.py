import base64
import json
from pathlib import Path

import pytest

from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import convert, write_labelme

PREFER = KeepRules(geometry="prefer-poly")


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
    reason = "a shape of type 'point', which has no extent (--points keep writes points)"
    assert done.counts == {f"dropped: {reason}": 1}


def test_points_stay_points_where_they_are_wanted(tmp_path: Path) -> None:
    src = write_labelme(
        tmp_path,
        shape("point", [[1.5, 48]]),
        shape("points", [[5, 2], [7, 3]], label="dog"),
        shape("rectangle", [[1, 1], [9, 9]]),
        shape("point", [[65, 1]]),
        shape("point", []),
        shape("point", [[1, 2, 3]]),
        shape("point", [[64.01, 9]], group_id=3),
        shape("point", [[8, 9]], group_id=3),
    )
    done = convert(src, tmp_path / "keep.jsonl", KeepRules(points="keep"))
    assert [(item.geometry.kind, item.geometry.values) for item in done.records[0].objects] == [
        ("point_2d", (1.5, 48)),
        ("point_2d", (5, 2)),
        ("point_2d", (7, 3)),
        ("bbox_2d", (1, 1, 9, 9)),
        ("point_2d", (64, 9)),
        ("point_2d", (8, 9)),
    ]
    assert done.counts == {
        "dropped: a point outside the picture": 1,
        "dropped: too few coordinates": 1,
        "dropped: a point that is not x and y": 1,
        "changed: within 0.02 pixels of the border: put on it": 1,
    }
    alone = convert(src, tmp_path / "only.jsonl", KeepRules(points="only", least_side=5))
    assert {item.geometry.kind for item in alone.records[0].objects} == {"point_2d"}
    assert alone.counts["dropped: no point, and --points only wants no other"] == 1


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
            "a shape of type {'a': 1}, which is not known",
        ),
        (shape("line", [[1, 1], [200, 2]]), "a line that leaves the picture"),
        (shape("cuboid", [[1, 1], [5, 2], [5, 5], [1, 5]]), "a shape of type 'cuboid', which is"),
        (shape("points", [[1, 1], [5, 2]]), "a shape of type 'points', which has no extent"),
        (shape("rectangle", [[1, 1], [5, 2], [5, 5]]), "a rectangle of neither two nor four"),
        (shape("oriented_rectangle", [[1, 1], [5, 2]]), "too few coordinates"),
    ],
)
def test_broken_shapes_are_dropped(tmp_path: Path, broken: dict[str, object], reason: str) -> None:
    src = write_labelme(tmp_path, broken, shape("rectangle", [[1, 1], [2, 2]]))
    done = convert(src, tmp_path / "out.jsonl", PREFER)
    (found,) = done.counts
    assert found.startswith(f"dropped: {reason}")
    assert len(done.things[0]) == 1


@pytest.mark.parametrize("kind", ["rectangle", "oriented_rectangle", "rotation"])
def test_turned_rectangles_are_outlines(tmp_path: Path, kind: str) -> None:
    # Turned by 45 degrees; and the four corners of one that is not turned.
    turned = shape(kind, [[20, 10], [30, 20], [20, 30], [10, 20]], group_id=1)
    other = shape(kind, [[40, 10], [50, 20], [40, 30], [30, 20]], group_id=1)
    straight = shape(kind, [[5, 6], [9, 6], [9, 8], [5, 8]])
    src = write_labelme(tmp_path, turned, other, straight)
    boxes = [("cat", (10, 10, 30, 30)), ("cat", (30, 10, 50, 30)), ("cat", (5, 6, 9, 8))]
    assert convert(src, tmp_path / "a.jsonl", strict=True).things == [boxes]
    done = convert(src, tmp_path / "b.jsonl", PREFER, strict=True)
    assert [values for _, values in done.things[0]] == [
        (20, 10, 30, 20, 20, 30, 10, 20),
        (40, 10, 50, 20, 40, 30, 30, 20),
        (5, 6, 9, 8),
    ]


@pytest.mark.parametrize(
    "image", ["a.json", "", "C:\\x\\a.png", "/x/a.png", "A.PNG", "a", "../b/a.png"]
)
def test_a_path_that_leads_nowhere_leaves_the_picture_that_is_called_alike(
    tmp_path: Path, image: str
) -> None:
    src = write_labelme(tmp_path, shape("rectangle", [[1, 1], [5, 5]]), image=image)
    assert convert(src, tmp_path / "out.jsonl", strict=True).records[0].image == "a.png"


def embed(src: Path, data: str) -> None:
    document = json.loads(src.read_text())
    src.write_text(json.dumps({**document, "imageData": data}))


def test_an_embedded_picture_is_written_out_where_pictures_are_copied(tmp_path: Path) -> None:
    src = write_labelme(tmp_path / "in" / "sub", shape("rectangle", [[1, 1], [5, 5]]))
    content = (src.parent / "a.png").read_bytes()
    embed(src, base64.b64encode(content).decode())
    assert convert(src, src.parent / "a.jsonl").records[0].image == "a.png"
    (src.parent / "a.png").unlink()
    with pytest.raises(InputError, match=r"only inside its annotation file .*--copy-images writes"):
        convert(src, tmp_path / "b.jsonl")
    done = convert(tmp_path / "in", tmp_path / "b.jsonl", copy_images=True, strict=True)
    assert done.records[0].image == "b_images/sub/a.png"
    assert (tmp_path / "b_images" / "sub" / "a.png").read_bytes() == content


@pytest.mark.parametrize(
    ("data", "reason"),
    [("a", "that is no base64"), (base64.b64encode(b"text").decode(), "that is none")],
)
def test_a_broken_embedded_picture_is_told(tmp_path: Path, data: str, reason: str) -> None:
    src = write_labelme(tmp_path, shape("rectangle", [[1, 1], [5, 5]]))
    (tmp_path / "a.png").unlink()
    embed(src, data)
    with pytest.raises(InputError, match=f"an embedded picture .imageData. {reason}"):
        convert(src, tmp_path / "b.jsonl", copy_images=True)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    src = write_labelme(tmp_path, shape("rectangle", [[1, 1], [5, 5]]))
    write_labelme(tmp_path / ".ipynb_checkpoints", shape("rectangle", [[1, 1], [5, 5]]))
    (tmp_path / "._a.json").write_bytes(b"\0\5\xff")
    assert len(convert(tmp_path, tmp_path / "out.jsonl").records) == 1
    assert src.is_file()


def test_folders_of_annotations_are_mirrored_by_those_of_pictures(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_labelme(tmp_path / "json" / name, shape("rectangle", [[1, 1], [5, 5]], label=name))
        picture = tmp_path / "images" / name / "a.png"
        picture.parent.mkdir(parents=True)
        (tmp_path / "json" / name / "a.png").rename(picture)
    src, out = tmp_path / "json", tmp_path / "out.jsonl"
    done = convert(src, out, images=tmp_path / "images", strict=True)
    assert [record.image for record in done.records] == ["images/one/a.png", "images/two/a.png"]


def test_the_picture_of_a_file_of_the_same_name_elsewhere_is_not_taken(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "sub"):
        write_labelme(folder, shape("rectangle", [[1, 1], [5, 5]]))
    (tmp_path / "sub" / "a.png").unlink()
    with pytest.raises(InputError, match=r"a.png is the picture of two annotation files that are"):
        convert(tmp_path, tmp_path / "out.jsonl")
