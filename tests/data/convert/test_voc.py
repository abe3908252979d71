from pathlib import Path

import pytest

from coordexp.errors import InputError
from tests.data.convert.sources import convert, voc_object, write_voc


def test_one_is_subtracted_from_the_first_pixel_only(tmp_path: Path) -> None:
    # A thing on the pixels 1..64 of VOC covers the whole width.
    write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)), voc_object("dog", (5, 6, 7, 8)))
    done = convert(tmp_path, tmp_path / "out.jsonl")
    assert done.kind == "voc"
    assert done.things == [[("cat", (0, 0, 64, 48)), ("dog", (4, 5, 7, 8))]]
    assert done.records[0].image == "JPEGImages/a.png"


def test_zero_based_corners_stay(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (0, 1.5, 64.0, 48)))
    done = convert(tmp_path, tmp_path / "out.jsonl", zero_based=True)
    assert done.things == [[("cat", (0, 1.5, 64, 48))]]
    assert done.counts == {}


def test_a_corner_at_0_is_told(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (0, 2, 6, 4)))
    done = convert(tmp_path, tmp_path / "out.jsonl")
    assert done.things == [[("cat", (0, 1, 6, 4))]]
    assert done.counts == {
        "clipped: overhangs its picture": 1,
        "noted: a VOC corner at 0: if the file counts from 0, pass --zero-based": 1,
    }


def test_parts_of_people_are_no_objects(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    write_voc(tmp_path, voc_object("person", (2, 2, 9, 9)).replace("</object>", part))
    assert convert(tmp_path, tmp_path / "out.jsonl").things == [[("person", (1, 1, 9, 9))]]


@pytest.mark.parametrize(
    ("thing", "reason"),
    [
        (voc_object("cat", (9, 2, 3, 4)), "a box whose corners are in the wrong order"),
        (voc_object("cat", ("nan", 2, 3, 4)), "coordinates that are no finite numbers"),
        (voc_object("cat", ("", 2, 3, 4)), "coordinates that are no finite numbers"),
        (voc_object(" ", (1, 2, 3, 4)), "a shape without a class name"),
        ("<object><name>cat</name></object>", "an object without a bndbox"),
    ],
)
def test_broken_objects_are_dropped(tmp_path: Path, thing: str, reason: str) -> None:
    write_voc(tmp_path, thing, voc_object("cat", (1, 1, 2, 2)))
    done = convert(tmp_path, tmp_path / "out.jsonl")
    assert len(done.things[0]) == 1
    assert done.counts == {f"dropped: {reason}": 1}


def test_a_renamed_picture_is_found_by_the_name_of_its_annotation(tmp_path: Path) -> None:
    write_voc(tmp_path, name="before.jpg")
    assert convert(tmp_path, tmp_path / "out.jsonl").records[0].image == "JPEGImages/a.png"


def test_splits_are_lists_of_names(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (1, 1, 2, 2)))
    (tmp_path / "Annotations" / "b.xml").write_text("not even XML")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "cat_train.txt").write_text("a 1\n")
    assert len(convert(tmp_path, tmp_path / "out.jsonl", split="train").records) == 1
    with pytest.raises(InputError, match="no such list of the split 'test'; there are train"):
        convert(tmp_path, tmp_path / "b.jsonl", split="test")


def test_another_root_is_no_annotation(tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text("<svg/>")
    with pytest.raises(InputError, match=r"a.xml: expected a VOC <annotation>, got <svg>"):
        convert(tmp_path, tmp_path / "out.jsonl")
