import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.data.convert.conversion import StrictError
from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import (
    HEIGHT,
    WIDTH,
    coco_document,
    convert,
    voc_object,
    write_coco,
    write_picture,
    write_voc,
    write_yolo,
)


@st.composite
def boxes(draw: st.DrawFn) -> list[tuple[float, float, float, float]]:
    """Boxes at hundredths of a pixel, at least a tenth wide, inside the picture."""

    def side(size: int) -> tuple[float, float]:
        first = draw(st.integers(0, size * 100 - 10))
        return first / 100, draw(st.integers(first + 10, size * 100)) / 100

    sides = [(side(WIDTH), side(HEIGHT)) for _ in range(draw(st.integers(1, 4)))]
    return [(x1, y1, x2, y2) for (x1, x2), (y1, y2) in sides]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round")


@given(boxes=boxes())
def test_boxes_come_back_from_coco(folder: Path, boxes: list[tuple[float, ...]]) -> None:
    rows = [{"bbox": [x1, y1, x2 - x1, y2 - y1]} for x1, y1, x2, y2 in boxes]
    src = write_coco(folder, coco_document(*rows))
    done = convert(src, folder / "a.jsonl", overwrite=True, strict=True)
    assert [values for _, values in done.things[0]] == boxes


@given(boxes=boxes())
def test_boxes_come_back_from_voc(folder: Path, boxes: list[tuple[float, ...]]) -> None:
    whole = voc_object("cat", (1, 1, WIDTH, HEIGHT))
    things = [voc_object("cat", (x1 + 1, y1 + 1, x2, y2)) for x1, y1, x2, y2 in boxes]
    src = write_voc(folder, *things, whole)
    done = convert(src, folder / "a.jsonl", zero_based=False, overwrite=True)
    # Corners less than one apart are in the wrong order as 1-based pixels, and dropped.
    thick = [box for box in boxes if box[2] >= box[0] + 1 and box[3] >= box[1] + 1]
    assert [values for _, values in done.things[0][:-1]] == thick
    plain = write_voc(folder, *(voc_object("cat", box) for box in boxes))
    done = convert(plain, folder / "a.jsonl", zero_based=True, overwrite=True, strict=True)
    assert [values for _, values in done.things[0]] == boxes


@given(boxes=boxes())
def test_boxes_come_back_from_yolo(folder: Path, boxes: list[tuple[float, ...]]) -> None:
    lines = [
        f"0 {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f}"
        f" {(x2 - x1) / WIDTH:.6f} {(y2 - y1) / HEIGHT:.6f}"
        for x1, y1, x2, y2 in boxes
    ]
    src = write_yolo(folder, "\n".join(lines))
    done = convert(src, folder / "a.jsonl", overwrite=True, strict=True)
    # Six decimals of two shares, and what is written: 0.75e-6 * 64 + 0.5e-4
    for (_, values), box in zip(done.things[0], boxes, strict=True):
        assert values == pytest.approx(box, abs=1e-4)


def test_strict_fails_with_the_whole_report_and_writes_nothing(tmp_path: Path) -> None:
    src = write_coco(
        tmp_path, coco_document({"bbox": [60, 1, 9, 9]}, {"bbox": [1, 1, 0, 0]}, {"bbox": [1] * 4})
    )
    before = {*tmp_path.rglob("*")}
    with pytest.raises(StrictError, match="2 problem") as caught:
        convert(src, tmp_path / "a.jsonl", strict=True, copy_images=True)
    assert caught.value.exit_code == 1
    assert [(item.fate, item.count) for item in caught.value.report.problems] == [
        ("dropped", 1),
        ("clipped", 1),
    ]
    assert {*tmp_path.rglob("*")} == before


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 3, 3]}, {"bbox": [1, 2, 9, 9]}))
    convert(src, tmp_path / "a.jsonl")
    convert(src, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_classes_are_chosen_and_must_exist(tmp_path: Path) -> None:
    src = write_coco(
        tmp_path,
        coco_document({"bbox": [1, 1, 3, 3]}, {"bbox": [5, 5, 3, 3], "category_id": 2}),
    )
    for at, choice in enumerate(
        (KeepRules(include=frozenset({"dog"})), KeepRules(exclude=frozenset({"cat"})))
    ):
        done = convert(src, tmp_path / f"{at}.jsonl", choice)
        assert done.things == [[("dog", (5, 5, 8, 8))]]
        assert done.counts == {"dropped: class not wanted": 1}
    with pytest.raises(InputError, match="no class is called 'dgo'; did you mean 'dog'"):
        convert(src, tmp_path / "c.jsonl", KeepRules(include=frozenset({"dgo"})))
    with pytest.raises(InputError, match=r"no class is called 'kite'; there are 'cat', 'dog'$"):
        convert(src, tmp_path / "c.jsonl", KeepRules(include=frozenset({"kite"})))


def test_pictures_with_too_many_objects_or_none_can_be_left_out(tmp_path: Path) -> None:
    document = coco_document(
        {"bbox": [1, 1, 3, 3]},
        {"bbox": [2, 2, 3, 3]},
        {"bbox": [2, 2, 3, 3], "image_id": 8},
        {"bbox": [2, 2, 0, 3], "image_id": 9},
    )
    for number in (8, 9, 10):
        name = f"{number}.png"
        document["images"].append({"id": number, "file_name": name})  # type: ignore[attr-defined]
        write_picture(tmp_path / "train" / name)
    src = write_coco(tmp_path, document)
    assert len(convert(src, tmp_path / "a.jsonl").records) == 4
    done = convert(src, tmp_path / "b.jsonl", KeepRules(most_objects=1, empty=False))
    assert [record.metadata["image_id"] for record in done.records] == [8]
    assert done.counts == {
        "dropped: more than 1 objects": 1,
        "dropped: no objects": 2,
        "dropped: on a picture that was dropped": 2,
        "dropped: a box without area": 1,
    }


def test_crowds_are_no_objects_where_objects_are_counted_out(tmp_path: Path) -> None:
    crowd = {"bbox": [2, 2, 9, 9], "iscrowd": 1}
    document = coco_document(
        {"bbox": [1, 1, 3, 3]},
        crowd,
        {**crowd, "image_id": 8},
        {"bbox": [1, 1, 0, 0], "image_id": 8},
    )
    document["images"].append({"id": 8, "file_name": "8.png"})  # type: ignore[attr-defined]
    write_picture(tmp_path / "train" / "8.png")
    src = write_coco(tmp_path, document)
    noted = convert(src, tmp_path / "a.jsonl").counts
    assert noted["noted: nothing but crowds and ignored objects: the answer is {}"] == 1
    done = convert(src, tmp_path / "b.jsonl", KeepRules(most_objects=1, empty=False))
    assert [record.metadata["image_id"] for record in done.records] == [7]
    assert done.counts["dropped: nothing but crowds and ignored objects"] == 1


def test_unusable_pictures_are_dropped_with_their_objects(tmp_path: Path) -> None:
    document = coco_document(*({"bbox": [1, 1, 3, 3], "image_id": 7 + at} for at in range(6)))
    names = ["gone.png", "../a.png", "text.png", "large.png", None]
    document["images"] += [  # type: ignore[operator]
        {"id": 8 + at, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for at, name in enumerate(names)
    ]
    src = write_coco(tmp_path, document)
    (tmp_path / "train" / "text.png").write_text("no picture")
    write_picture(tmp_path / "train" / "large.png", (10, 10))
    write_picture(tmp_path / "a.png")
    done = convert(src, tmp_path / "a.jsonl")
    assert done.counts == {
        "dropped: a picture that is missing": 1,
        "dropped: an entry that names no picture": 1,
        "dropped: a file that is no picture": 1,
        "dropped: a picture of another size than its annotation says": 1,
        "dropped: a picture path that leads out of the folder of the pictures": 1,
        "dropped: on a picture that was dropped": 5,
    }


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 3, 3]}))
    (tmp_path / "train" / "a.png").write_text("no picture")
    with pytest.raises(InputError, match=r"nothing is left to write\n  1 picture.*no picture"):
        convert(src, tmp_path / "a.jsonl")


def test_pictures_that_are_nowhere_are_told_before_anything_is_read(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 3, 3]}))
    (tmp_path / "train" / "a.png").unlink()
    with pytest.raises(InputError, match=r"in no usual place .*'a.png'.*with --images"):
        convert(src, tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="there is no such folder"):
        convert(src, tmp_path / "a.jsonl", images=tmp_path / "none")


def test_records_cannot_name_pictures_outside_their_folder(tmp_path: Path) -> None:
    src = write_coco(tmp_path / "coco", coco_document({"bbox": [1, 1, 3, 3]}))
    out = tmp_path / "records" / "a.jsonl"
    with pytest.raises(InputError, match=r"outside .* or pass --copy-images"):
        convert(src, out)
    assert not out.parent.exists() or not [*out.parent.iterdir()]
    done = convert(src, out, copy_images=True)
    assert done.records[0].image == "a_images/a.png"
    copy = out.parent / "a_images" / "a.png"
    assert copy.samefile(tmp_path / "coco" / "train" / "a.png")
    with pytest.raises(InputError, match="exists already"):
        convert(src, out, copy_images=True)
    convert(src, out, copy_images=True, overwrite=True)
    assert copy.is_file()


def test_a_linked_folder_of_pictures_is_told_not_followed_out(tmp_path: Path) -> None:
    src = write_coco(tmp_path / "coco", coco_document({"bbox": [1, 1, 3, 3]}))
    (tmp_path / "coco" / "train").rename(tmp_path / "elsewhere")
    (tmp_path / "coco" / "train").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="lies outside"):
        convert(src, tmp_path / "coco" / "a.jsonl")
    assert convert(src, tmp_path / "a.jsonl").records[0].image == "elsewhere/a.png"


def test_the_output_is_guarded(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 3, 3]}))
    (tmp_path / "a.jsonl").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        convert(src, tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == "mine"
    with pytest.raises(InputError, match=r"end the name in \.jsonl"):
        convert(src, tmp_path / "a.json")


def test_metadata_is_json(tmp_path: Path) -> None:
    document = coco_document({"bbox": [1, 1, 3, 3]})
    src = write_coco(tmp_path, document)
    src.write_text(
        json.dumps(document).replace('"id": 7', '"id": 7.0').replace('d": 7,', 'd": 7.0,')
    )
    assert convert(src, tmp_path / "a.jsonl").records[0].metadata == {"image_id": 7}


def test_losing_every_object_is_an_error_and_leaves_no_file_of_negatives(tmp_path: Path) -> None:
    src = write_coco(tmp_path, coco_document({"bbox": [1, 1, 0, 3]}, {"bbox": [1, 1, -1, 3]}))
    with pytest.raises(
        InputError, match=r"every object was dropped\n  1 object\(s\): a box of neg"
    ):
        convert(src, tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()
    crowd = write_coco(tmp_path, coco_document({"bbox": [1, 1, 3, 3], "iscrowd": 1}))
    assert convert(crowd, tmp_path / "a.jsonl", KeepRules(crowd="drop")).things == [[]]  # asked for


@pytest.mark.parametrize(("broken", "loud"), [(3, False), (4, True)])
def test_losing_more_than_three_in_a_hundred_is_said_aloud(
    tmp_path: Path, broken: int, loud: bool
) -> None:
    rows = [{"bbox": [1, 1, 0, 3]}] * broken + [{"bbox": [1, 1, 3, 3]}] * (100 - broken)
    done = convert(write_coco(tmp_path, coco_document(*rows)), tmp_path / "a.jsonl")
    expected = "4 of 100 objects (4 %) were dropped, most of them: a box without area"
    assert [text.startswith(expected) for text in done.report.warnings] == [True] * loud


def test_paths_of_windows_are_found(tmp_path: Path) -> None:
    document = coco_document({"bbox": [1, 1, 3, 3]})
    document["images"][0]["file_name"] = "Train\\A.png "  # type: ignore[index]
    src = write_coco(tmp_path, document)
    done = convert(src, tmp_path / "a.jsonl", strict=True)
    assert done.records[0].image == "train/a.png"
    assert done.counts == {
        "noted: a picture path that is spelled otherwise than its file (case, blanks, %20, "
        "Unicode form)": 1
    }
    assert convert(src, tmp_path / "b.jsonl", images=tmp_path / "train").records


def test_a_picture_is_not_taken_for_another_that_differs_in_spelling(tmp_path: Path) -> None:
    document = coco_document({"bbox": [1, 1, 3, 3]})
    document["images"].append({"id": 8, "file_name": "A.png"})  # type: ignore[attr-defined]
    src = write_coco(tmp_path, document)
    with pytest.raises(InputError, match=r"train/a.png is the picture of two entries"):
        convert(src, tmp_path / "a.jsonl")


def test_panoptic_files_are_told(tmp_path: Path) -> None:
    document = coco_document()
    document["annotations"] = [{"image_id": 7, "file_name": "a.png", "segments_info": []}]
    with pytest.raises(InputError, match="is a panoptic file"):
        convert(write_coco(tmp_path, document), tmp_path / "a.jsonl")
