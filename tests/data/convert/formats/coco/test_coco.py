import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask

from coordexp.data.contract.marks import Marks
from coordexp.data.convert.objects.mapping import GeometryChoice, KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import coco_document, convert, write_coco, write_picture

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


def test_crowds_are_kept_dropped_or_take_their_picture_along(tmp_path: Path) -> None:
    crowd = {"iscrowd": 1, "bbox": [0, 0, 2, 2], "segmentation": {"size": [48, 64], "counts": []}}
    src = write_coco(tmp_path, coco_document(crowd, {"bbox": [1, 1, 2, 2]}))
    out = tmp_path / "out.jsonl"
    kept = convert(src, out, strict=True)
    assert [item.marks for item in kept.records[0].objects] == [Marks(iscrowd=True), Marks()]
    assert len(kept.records[0].taught) == 1
    assert kept.counts == {"noted: a crowd: kept for figures, never taught": 1}
    dropped = convert(src, out, KeepRules(crowd="drop"), overwrite=True)
    assert len(dropped.things[0]) == 1
    assert dropped.counts == {"dropped: crowd": 1}
    assert dropped.report.problems == ()  # asked for
    with pytest.raises(InputError, match="nothing is left to write"):
        convert(src, out, KeepRules(crowd="drop-picture"), overwrite=True)


def test_outlines_become_polygons_and_boxes_where_one_is_not_enough(tmp_path: Path) -> None:
    src = write_coco(
        tmp_path,
        coco_document(
            {"bbox": [10, 10, 10, 10], "segmentation": [[*SQUARE[4:], *SQUARE[:4]]]},
            {"bbox": [10, 10, 26, 26], "segmentation": [SQUARE, FAR_SQUARE]},
            {"bbox": [1, 1, 2, 2]},
        ),
    )
    prefer = convert(src, tmp_path / "a.jsonl", KeepRules(geometry="prefer-poly"))
    assert [values for _, values in prefer.things[0]] == [
        tuple(SQUARE),
        (10, 10, 36, 36),
        (1, 1, 3, 3),
    ]
    poly = convert(src, tmp_path / "b.jsonl", KeepRules(geometry="poly"))
    assert [values for _, values in poly.things[0]] == [tuple(SQUARE), tuple(SQUARE)]
    assert poly.counts["changed: in several pieces: the largest is written"] == 1
    assert poly.counts["dropped: no outline, and --geometry poly wants one"] == 1


def test_masks_become_polygons_along_pixel_edges(tmp_path: Path) -> None:
    # Columns of 48: the pixels (1, 2) and (1, 3), then (2, 2) and (2, 3).
    runs = [48 + 2, 2, 46, 2, 64 * 48 - 48 - 2 - 2 - 46 - 2]
    mask = {"size": [48, 64], "counts": runs}
    src = write_coco(tmp_path, coco_document({"segmentation": mask}))
    done = convert(src, tmp_path / "a.jsonl", KeepRules(geometry="poly"))
    assert done.things == [[("cat", (1, 2, 3, 2, 3, 4, 1, 4))]]
    box = convert(src, tmp_path / "b.jsonl")
    assert box.things == [[("cat", (1, 2, 3, 4))]]


@pytest.mark.parametrize("value", [1, "1", True, 1.0, " true "])
def test_a_crowd_is_one_however_it_is_written(tmp_path: Path, value: object) -> None:
    row = {"bbox": [1, 1, 4, 4], "iscrowd": value}
    done = convert(write_coco(tmp_path, coco_document(row)), tmp_path / "a.jsonl")
    assert done.records[0].objects[0].marks == Marks(iscrowd=True)


@pytest.mark.parametrize("value", [0, "0", False, None, 0.0, "false"])
def test_no_crowd_is_one_however_that_is_written(tmp_path: Path, value: object) -> None:
    row = {"bbox": [1, 1, 4, 4], "iscrowd": value, "ignore": value, "area": 7.5}
    done = convert(write_coco(tmp_path, coco_document(row)), tmp_path / "a.jsonl")
    assert done.records[0].objects[0].marks == Marks(area=7.5)


@pytest.mark.parametrize("value", [2, -1, "yes", "", [1], {}, float("nan")])
def test_what_is_no_flag_is_not_guessed(tmp_path: Path, value: object) -> None:
    row = {"bbox": [1, 1, 4, 4], "iscrowd": value}
    src = write_coco(tmp_path, coco_document(row, {"bbox": [1, 1, 2, 2]}))
    counts = convert(src, tmp_path / "a.jsonl").counts
    assert counts == {"dropped: an iscrowd that is neither 0 nor 1": 1}


def test_ignore_is_kept_taught_or_dropped(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 4, 4], "ignore": 1, "area": 9}))
    out = tmp_path / "out.jsonl"
    kept = convert(src, out)
    # COCO's tools count it, so it is no more than never taught.
    assert kept.records[0].objects[0].marks == Marks(iscrowd=False, ignore=True, area=9)
    assert kept.records[0].taught == ()
    taught = convert(src, out, KeepRules(ignored="teach"), overwrite=True)
    assert taught.records[0].objects[0].marks == Marks(area=9)
    dropped = convert(src, out, KeepRules(ignored="drop"), overwrite=True)
    assert dropped.counts["dropped: ignored or difficult"] == 1


@pytest.mark.parametrize(
    ("area", "kept", "reason"),
    [
        (
            64 * 48,
            64 * 48,
            "noted: an area that disagrees with its shape: kept, for COCO's figures",
        ),
        (None, None, None),
        (0, 0, None),
        ("12", None, "noted: an area that is no number of square pixels: left out"),
        (-1, None, "noted: an area that is no number of square pixels: left out"),
        (float("nan"), None, "noted: an area that is no number of square pixels: left out"),
        (True, None, "noted: an area that is no number of square pixels: left out"),
    ],
)
def test_areas_are_kept_and_odd_ones_noted(
    tmp_path: Path, area: object, kept: float | None, reason: str | None
) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 4, 4], "area": area}))
    done = convert(src, tmp_path / "a.jsonl", strict=True)
    assert done.records[0].objects[0].marks.area == kept
    assert [key[: len(reason or "")] for key in done.counts] == ([] if reason is None else [reason])


@pytest.mark.parametrize("box", [None, [], [0, 0, 0, 0], [9, 9, -3, 4], ["1", "2", "3", "4"], [1]])
@pytest.mark.parametrize("geometry", ["bbox", "poly", "prefer-poly"])
def test_a_good_outline_outlives_a_bad_box(
    tmp_path: Path, box: object, geometry: GeometryChoice
) -> None:
    rows = [{"bbox": box, "segmentation": [SQUARE]}, {"segmentation": [SQUARE]}]
    src = write_coco(tmp_path, coco_document(*rows))
    done = convert(src, tmp_path / "out.jsonl", KeepRules(geometry=geometry), strict=True)
    expected = (10, 10, 20, 20) if geometry == "bbox" else tuple(SQUARE)
    assert done.things == [[("cat", expected)] * 2]


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ([[10, 10, 20, 10, 20]], "an outline with half a point"),
        ([[10, 10, 20, "10", 20, 20]], "coordinates that are written as text"),
        ([[10, 10, 20, None, 20, 20]], "coordinates that are no finite numbers"),
        (SQUARE, "an outline that is not in a list of outlines"),
        ([[10, 10], [20, 10], [20, 20]], "an outline of separate points, where COCO has one flat"),
        ("10 10 20 10", "a segmentation that is neither outlines nor a mask"),
        ({"size": [48, 64], "counts": [1]}, "a mask that cannot be decoded"),
        ({"size": [4, 6], "counts": [24]}, "a mask of another size than its picture"),
        ({"counts": "x"}, "a mask of another size than its picture"),
    ],
)
def test_a_good_box_outlives_a_broken_outline(tmp_path: Path, outline: object, reason: str) -> None:
    good = {"bbox": [10, 10, 10, 10], "segmentation": [SQUARE]}
    rows = ({"bbox": [1, 1, 4, 4], "segmentation": outline}, good)
    src = write_coco(tmp_path, coco_document(*rows))
    for at, geometry in enumerate(("bbox", "prefer-poly")):
        done = convert(src, tmp_path / f"{at}.jsonl", KeepRules(geometry=geometry), strict=True)
        assert done.things[0][0] == ("cat", (1, 1, 5, 5))
        assert len(done.counts) == at
        assert all(key.startswith(f"changed: {reason}") for key in done.counts)
    poly = convert(src, tmp_path / "poly.jsonl", KeepRules(geometry="poly"))
    assert poly.things == [[("cat", tuple(SQUARE))]]
    assert any(key.startswith(f"dropped: {reason}") for key in poly.counts)
    assert len(poly.report.problems) == 1


@pytest.mark.parametrize("segmentation", [None, [], {}, [[]]])
def test_nothing_is_no_outline(tmp_path: Path, segmentation: object) -> None:
    row = {"bbox": [1, 1, 4, 4], "segmentation": segmentation}
    src = write_coco(tmp_path, coco_document(row))
    done = convert(src, tmp_path / "a.jsonl", KeepRules(geometry="prefer-poly"), strict=True)
    assert done.things == [[("cat", (1, 1, 5, 5))]]


def test_a_crowd_keeps_all_of_its_mask(tmp_path: Path) -> None:
    pixels = np.zeros((48, 64), dtype=np.uint8)
    pixels[5:20, 5:20] = pixels[30:40, 50:64] = 1
    pixels[8:12, 8:12] = 0
    flat = pixels.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    runs = np.diff([0, *edges, len(flat)]).tolist()
    row = {"iscrowd": 1, "segmentation": {"size": [48, 64], "counts": runs}}
    src = write_coco(tmp_path, coco_document(row))
    for geometry in ("poly", "prefer-poly"):
        done = convert(src, tmp_path / f"{geometry}.jsonl", KeepRules(geometry=geometry))
        (item,) = done.records[0].objects
        outline = [[float(value) for value in item.geometry.values]]
        again = mask.decode(mask.merge(mask.frPyObjects(outline, 48, 64)))
        assert (again == pixels).all()


def test_ids_are_one_as_text_and_as_number(tmp_path: Path) -> None:
    rows = [{"bbox": [k, 1, 4, 4]} for k in range(1, 5)]
    document: Any = coco_document(*rows)
    for row, image, category in zip(
        document["annotations"], ("7", 7.0, "07", "7.0"), (1, "1", 1.0, " 1"), strict=True
    ):
        row |= {"image_id": image, "category_id": category}
    done = convert(write_coco(tmp_path, document), tmp_path / "out.jsonl", strict=True)
    assert [name for name, _ in done.things[0]] == ["cat"] * 4
    spelled = "noted: an id that is text in one place and a number in another: taken for the same"
    assert done.counts == {spelled: 5}
    document["images"][0]["id"], document["categories"][0]["id"] = "0007", "1"
    turned = convert(write_coco(tmp_path, document), tmp_path / "turned.jsonl", strict=True)
    assert turned.things == done.things


def test_ids_that_differ_only_in_their_spelling_stay_apart(tmp_path: Path) -> None:
    document: Any = coco_document(*({"bbox": [1, 1, 4, 4], "image_id": k} for k in (7, "7", "07")))
    document["images"].append({"id": "7", "file_name": "b.png"})
    write_picture(tmp_path / "train" / "b.png")
    done = convert(write_coco(tmp_path, document), tmp_path / "out.jsonl")
    assert [len(things) for things in done.things] == [1, 1]
    assert done.counts == {"dropped: an annotation of an image that is not there": 1}


def test_files_of_other_tasks_are_named(tmp_path: Path) -> None:
    segment = {"id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 9, "iscrowd": 0}
    for row, message in (
        ({"image_id": 7, "file_name": "a.png", "segments_info": [segment]}, "is a panoptic file"),
        ({"image_id": 7, "id": 1, "caption": "A cat."}, "captions and no objects"),
    ):
        document = {**coco_document(), "annotations": [row], "categories": None}
        with pytest.raises(InputError, match=message):
            convert(write_coco(tmp_path, document), tmp_path / "out.jsonl")
        assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"bbox": [1, 2, float("nan"), 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, float("inf"), 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, 10**400, 4]}, "coordinates beyond any picture"),
        ({"bbox": [1, 2, "3", 4]}, "coordinates that are written as text"),
        ({"bbox": [1, 2, True, 4]}, "coordinates that are no finite numbers"),
        ({"bbox": [1, 2, -3, 4]}, "a box of negative width or height"),
        ({"bbox": [1, 2, 0, 4]}, "a box without area"),
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
