import json
from pathlib import Path

import pytest

from coordexp.data.convert.mapping import Choice
from coordexp.errors import InputError
from tests.data.convert.sources import coco_document, convert, write_coco

SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]
FAR_SQUARE = [30, 30, 36, 30, 36, 36, 30, 36]


def test_the_usual_layout_converts_in_one_command(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_document({"bbox": [1, 2, 10.5, 20]}, {"bbox": [0, 0, 64, 48]}))
    done = convert(tmp_path, tmp_path / "train.jsonl")
    assert done.kind == "coco"
    assert done.things == [[("cat", (1, 2, 11.5, 22)), ("cat", (0, 0, 64, 48))]]
    record = done.records[0]
    assert record.image == "train/a.png"
    assert (record.width, record.height) == (64, 48)
    assert record.metadata == {"image_id": 7}
    assert done.report.problems == ()


def test_the_split_is_found_by_the_file_names(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_document({"bbox": [1, 2, 3, 4]}))
    other = tmp_path / "annotations" / "instances_val2017.json"
    other.write_text(json.dumps(coco_document({"bbox": [5, 5, 5, 5]})))
    (tmp_path / "annotations" / "captions_train.json").write_text(
        json.dumps({"images": [], "annotations": []})
    )
    with pytest.raises(InputError, match=r"several annotation files: .*use --split"):
        convert(tmp_path, tmp_path / "out.jsonl")
    assert convert(tmp_path, tmp_path / "a.jsonl", split="train").things == [
        [("cat", (1, 2, 4, 6))]
    ]
    done = convert(tmp_path, tmp_path / "b.jsonl", split="val", images=tmp_path / "train")
    assert done.things == [[("cat", (5, 5, 10, 10))]]
    with pytest.raises(InputError, match="no annotation file of the split 'test'"):
        convert(tmp_path, tmp_path / "c.jsonl", split="test")


def test_crowds_are_dropped_kept_or_take_their_picture_along(tmp_path: Path) -> None:
    crowd = {"iscrowd": 1, "bbox": [0, 0, 2, 2], "segmentation": {"size": [48, 64], "counts": []}}
    src = write_coco(tmp_path, coco_document(crowd, {"bbox": [1, 1, 2, 2]}))
    out = tmp_path / "out.jsonl"
    dropped = convert(src, out)
    assert len(dropped.things[0]) == 1
    assert dropped.counts == {"dropped: crowd": 1}
    assert dropped.report.problems == ()  # asked for
    assert len(convert(src, out, Choice(crowd="keep"), overwrite=True).things[0]) == 2
    with pytest.raises(InputError, match="nothing is left to write"):
        convert(src, out, Choice(crowd="drop-picture"), overwrite=True)


def test_outlines_become_polygons_and_boxes_where_one_is_not_enough(tmp_path: Path) -> None:
    src = write_coco(
        tmp_path,
        coco_document(
            {"bbox": [10, 10, 10, 10], "segmentation": [[*SQUARE[4:], *SQUARE[:4]]]},
            {"bbox": [10, 10, 26, 26], "segmentation": [SQUARE, FAR_SQUARE]},
            {"bbox": [1, 1, 2, 2]},
        ),
    )
    prefer = convert(src, tmp_path / "a.jsonl", Choice(geometry="prefer-poly"))
    assert [values for _, values in prefer.things[0]] == [
        tuple(SQUARE),
        (10, 10, 36, 36),
        (1, 1, 3, 3),
    ]
    poly = convert(src, tmp_path / "b.jsonl", Choice(geometry="poly"))
    assert [values for _, values in poly.things[0]] == [tuple(SQUARE), tuple(SQUARE)]
    assert poly.counts["changed: in several pieces: the largest is written"] == 1
    assert poly.counts["dropped: no outline, and --geometry poly wants one"] == 1


def test_masks_become_polygons_along_pixel_edges(tmp_path: Path) -> None:
    # Columns of 48: the pixels (1, 2) and (1, 3), then (2, 2) and (2, 3).
    runs = [48 + 2, 2, 46, 2, 64 * 48 - 48 - 2 - 2 - 46 - 2]
    mask = {"size": [48, 64], "counts": runs}
    src = write_coco(tmp_path, coco_document({"segmentation": mask}))
    done = convert(src, tmp_path / "a.jsonl", Choice(geometry="poly"))
    assert done.things == [[("cat", (1, 2, 3, 2, 3, 4, 1, 4))]]
    box = convert(src, tmp_path / "b.jsonl")
    assert box.things == [[("cat", (1, 2, 3, 4))]]


def test_areas_are_not_used_and_wrong_ones_noted(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 4, 4], "area": 64 * 48}))
    done = convert(src, tmp_path / "a.jsonl", strict=True)
    assert done.counts == {"noted: an area that disagrees with its shape: not used": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"bbox": [1, 2, float("nan"), 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, float("inf"), 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, 10**400, 4]}, "coordinates beyond any picture"),
        ({"bbox": [1, 2, "3", 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, True, 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, -3, 4]}, "a box of negative width or height"),
        ({"bbox": [1, 2, 0, 4]}, "a shape without area"),
        ({"bbox": [1, 2, 3]}, "a box without four numbers"),
        ({"bbox": "1 2 3 4"}, "coordinates that are no list of numbers"),
        ({"bbox": [70, 2, 3, 4]}, "a shape outside the picture"),
        ({"bbox": [1, 2, 3, 4], "category_id": 9}, "an annotation of a category that is not there"),
        (
            {"bbox": [1, 2, 3, 4], "category_id": [1]},
            "an annotation of a category that is not there",
        ),
        ({"bbox": [1, 2, 3, 4], "image_id": 8}, "an annotation of an image that is not there"),
        ({}, "an annotation without box and segmentation"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a shape without area"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "an outline with half a point"),
        (
            {"segmentation": {"size": [4, 4], "counts": [16]}},
            "a mask of another size than its picture",
        ),
    ],
)
def test_a_broken_annotation_is_dropped_and_counted(
    tmp_path: Path, row: dict[str, object], reason: str
) -> None:
    src = write_coco(tmp_path, coco_document(row, {"bbox": [1, 1, 2, 2]}))
    done = convert(src, tmp_path / "out.jsonl")
    assert done.things == [[("cat", (1, 1, 3, 3))]]
    assert done.counts == {f"dropped: {reason}": 1}
    assert len(done.report.problems) == 1


def test_twice_used_ids(tmp_path: Path) -> None:
    document = coco_document({"id": 3, "bbox": [1, 1, 2, 2]}, {"id": 3, "bbox": [5, 5, 2, 2]})
    document["images"] *= 2  # type: ignore[operator]
    done = convert(write_coco(tmp_path, document), tmp_path / "out.jsonl")
    assert len(done.things[0]) == 2
    assert done.counts == {
        "dropped: an image whose id is that of another": 1,
        "noted: an annotation id that comes twice": 1,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "images: expected a list, got None"),
        ({"annotations": {}}, "annotations: expected a list"),
        ({"annotations": [1]}, r"annotations\[0\]: expected an object, got 1"),
        ({"categories": [{"id": 1}]}, r"categories\[0\]: expected an id and a name"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            r"categories\[1\]: the id 1 is that of 'a' as well",
        ),
    ],
)
def test_a_broken_document_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    src = write_coco(tmp_path, {**coco_document(), **change})
    with pytest.raises(InputError, match=message):
        convert(src, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
