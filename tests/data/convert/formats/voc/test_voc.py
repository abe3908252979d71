from pathlib import Path

import pytest

from coordexp.data.contract.marks import Marks
from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import convert, voc_object, write_picture, write_voc


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
    done = convert(tmp_path, tmp_path / "out.jsonl", zero_based=False)
    assert done.things == [[("cat", (0, 1, 6, 4))]]
    assert done.counts == {
        "clipped: overhangs its picture": 1,
        "noted: a VOC corner at 0: if the file counts from 0, pass --zero-based": 1,
    }


@pytest.mark.parametrize(
    ("text", "marks"),
    [("1", Marks(ignore=True)), (" true ", Marks(ignore=True)), ("0", Marks()), ("", Marks())],
)
def test_difficult_objects_are_kept_and_not_taught(tmp_path: Path, text: str, marks: Marks) -> None:
    thing = voc_object("cat", (1, 1, 9, 9)).replace(
        "<bndbox>", f"<difficult>{text}</difficult><bndbox>"
    )
    write_voc(tmp_path, thing, voc_object("dog", (1, 1, 9, 9)))
    done = convert(tmp_path, tmp_path / "out.jsonl", strict=True)
    assert [item.marks for item in done.records[0].objects] == [marks, Marks()]
    taught = convert(tmp_path, tmp_path / "t.jsonl", KeepRules(ignored="teach"))
    assert len(taught.records[0].taught) == 2


def test_a_difficulty_that_is_no_flag_is_told(tmp_path: Path) -> None:
    thing = voc_object("cat", (1, 1, 9, 9)).replace("<bndbox>", "<difficult>2</difficult><bndbox>")
    write_voc(tmp_path, thing)
    done = convert(tmp_path, tmp_path / "out.jsonl")
    assert done.counts == {"noted: a <difficult> that is neither 0 nor 1: taken as 0": 1}


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


def test_a_corner_at_0_shows_that_all_files_count_from_0(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (0, 2, 6, 4)))
    write_picture(tmp_path / "JPEGImages" / "b.png")
    other = f"<annotation>{voc_object('dog', (3, 2, 6, 4))}</annotation>"
    (tmp_path / "Annotations" / "b.xml").write_text(other)
    done = convert(tmp_path, tmp_path / "out.jsonl", strict=True)
    assert done.things == [[("cat", (0, 2, 6, 4))], [("dog", (3, 2, 6, 4))]]
    reason = "noted: VOC corners that count from 0, for some lie there: taken as they are"
    assert done.counts == {reason: 2}
    assert done.report.warnings == ()


def test_where_nothing_shows_where_corners_count_from_it_is_said(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (1, 2, 6, 48)))
    done = convert(tmp_path, tmp_path / "a.jsonl")
    assert done.things == [[("cat", (0, 1, 6, 48))]]
    (warning,) = done.report.warnings
    assert "nothing here shows which" in warning
    assert "--zero-based or --one-based" in warning
    for zero_based in (True, False):
        done = convert(
            tmp_path, tmp_path / "b.jsonl", zero_based=zero_based, overwrite=True, strict=True
        )
        assert done.report.warnings == ()


def write_renamed(folder: Path, *pairs: tuple[str, str], missing: str = "") -> Path:
    """Write annotation files and what they name; each has a picture of its own name as well."""
    for name, named in pairs:
        write_voc(folder, voc_object(name, (1, 1, 64, 48)), name=f"{named}.png")
        (folder / "Annotations" / "a.xml").rename(folder / "Annotations" / f"{name}.tmp")
        if name != missing:
            write_picture(folder / "JPEGImages" / f"{name}.png")
    if "a" not in dict(pairs):
        (folder / "JPEGImages" / "a.png").unlink()
    for path in (folder / "Annotations").glob("*.tmp"):
        path.rename(path.with_suffix(".xml"))
    return folder


def test_a_name_of_anothers_picture_gives_way_to_the_files_own(tmp_path: Path) -> None:
    src = write_renamed(tmp_path, ("p0", "p1"), ("p1", "p2"), ("p2", "p2"))
    done = convert(src, tmp_path / "out.jsonl", strict=True)
    pairs = [
        (record.image, things[0][0])
        for record, things in zip(done.records, done.things, strict=True)
    ]
    assert pairs == [(f"JPEGImages/p{at}.png", f"p{at}") for at in range(3)]
    reason = (
        "noted: a picture name that belongs to another annotation file: paired by the file's own "
        "name"
    )
    assert done.counts == {reason: 2}


def test_the_picture_of_another_file_is_not_taken_where_the_own_is_missing(tmp_path: Path) -> None:
    src = write_renamed(tmp_path, ("p0", "p1"), ("p1", "p1"), missing="p0")
    done = convert(src, tmp_path / "out.jsonl")
    assert done.things == [[("p1", (0, 0, 64, 48))]]
    reason = "a picture that belongs to another annotation file, which is called like it"
    assert done.counts[f"dropped: {reason}"] == 1
    assert done.report.findings[0].first.endswith("p0.xml: p1.png")


def test_two_pictures_without_a_sign_which_are_refused_by_name(tmp_path: Path) -> None:
    src = write_renamed(tmp_path, ("p0", "other"))
    write_picture(tmp_path / "JPEGImages" / "other.png")
    with pytest.raises(InputError, match=r"two pictures: the one that it names.*other.png and p0"):
        convert(src, tmp_path / "out.jsonl")


def test_two_pictures_of_the_files_name_are_refused_unless_it_names_one(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)), name="")
    write_picture(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(InputError, match=r"fits several files; .*a.jpg and a.png"):
        convert(tmp_path, tmp_path / "a.jsonl")
    write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)))
    assert convert(tmp_path, tmp_path / "a.jsonl").records[0].image == "JPEGImages/a.png"


@pytest.mark.parametrize("name", ["a.xml", "a", "C:\\pictures\\a.png", "/home/x/a.png", "a%2Epng"])
def test_names_that_lead_nowhere_leave_the_picture_of_the_same_name(
    tmp_path: Path, name: str
) -> None:
    write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)), name=name)
    done = convert(tmp_path, tmp_path / "out.jsonl", strict=True)
    assert done.records[0].image == "JPEGImages/a.png"


def test_a_gif_is_a_picture_and_what_is_not_read_is_told(tmp_path: Path) -> None:
    write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)), name="a.gif")
    picture = tmp_path / "JPEGImages" / "a.png"
    picture.unlink()
    write_picture(picture.with_suffix(".gif"))
    assert convert(tmp_path, tmp_path / "a.jsonl").records[0].image == "JPEGImages/a.gif"
    picture.with_suffix(".gif").rename(picture.with_suffix(".heic"))
    with pytest.raises(InputError, match=r"format that is not read; the first: .*a.xml: a.heic"):
        convert(tmp_path, tmp_path / "b.jsonl")


def test_each_folder_has_its_own_pictures(tmp_path: Path) -> None:
    for at, folder in enumerate((tmp_path, tmp_path / "sub")):
        write_picture(folder / "a.png")
        text = voc_object(f"c{at}", (1, 1, 64, 48))
        (folder / "a.xml").write_text(f"<annotation><filename>a.png</filename>{text}</annotation>")
    done = convert(tmp_path, tmp_path / "out.jsonl")
    assert [record.image for record in done.records] == ["a.png", "sub/a.png"]


def test_folders_of_annotations_are_mirrored_by_those_of_pictures(tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_picture(tmp_path / "JPEGImages" / name / "a.png")
        path = tmp_path / "Annotations" / name / "a.xml"
        path.parent.mkdir(parents=True)
        path.write_text(f"<annotation>{voc_object(name, (1, 1, 64, 48))}</annotation>")
    done = convert(tmp_path, tmp_path / "out.jsonl", kind="voc")
    pairs = [
        (record.image, things[0][0])
        for record, things in zip(done.records, done.things, strict=True)
    ]
    assert pairs == [("JPEGImages/train/a.png", "train"), ("JPEGImages/val/a.png", "val")]


@pytest.mark.parametrize(
    "line",
    ["a", "a.png", "a.xml", "A.JPG", "JPEGImages\\a.png", "./JPEGImages/a.png", "a 1", "a.png -1"],
)
def test_names_in_a_split_may_be_paths_with_a_suffix(tmp_path: Path, line: str) -> None:
    write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text(f"{line}\r\n\r\n")
    assert len(convert(tmp_path, tmp_path / "out.jsonl", split="val", strict=True).records) == 1


def test_names_with_blanks_and_unknown_names_in_a_split(tmp_path: Path) -> None:
    src = write_renamed(tmp_path, ("my photo.v2", "my photo.v2"))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("my photo.v2\ngone\n")
    done = convert(src, tmp_path / "out.jsonl", split="val")
    assert len(done.records) == 1
    assert done.counts == {
        "dropped: a name in the list of the split that no annotation file has": 1
    }
    (lists / "val.txt").write_text("gone.png\n")
    with pytest.raises(InputError, match=r"val.txt: names no file of .*Annotations, .* 'gone.png'"):
        convert(src, tmp_path / "b.jsonl", split="val")


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    src = write_voc(tmp_path, voc_object("cat", (1, 1, 64, 48)))
    (src.parent / "._a.xml").write_bytes(b"\0\5\xff")
    (src.parent / ".ipynb_checkpoints").mkdir()
    (src.parent / ".ipynb_checkpoints" / "a-checkpoint.xml").write_text("no XML")
    for at, place in enumerate((tmp_path, src.parent)):
        assert len(convert(place, tmp_path / f"{at}.jsonl", strict=True).records) == 1
