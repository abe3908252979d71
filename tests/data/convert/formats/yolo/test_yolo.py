from pathlib import Path

import pytest

from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import convert, write_picture, write_yolo


def test_shares_become_pixels(tmp_path: Path) -> None:
    # 64 x 48: centre (32, 12), size (16, 24).
    src = write_yolo(tmp_path, "1 0.5 0.25 0.25 0.5\r\n\r\n")
    for at, place in enumerate((src, tmp_path)):
        done = convert(place, tmp_path / f"{at}.jsonl")
        assert done.kind == "yolo"
        assert done.things == [[("dog", (24, 0, 40, 24))]]
        assert done.records[0].image == "images/train/a.png"


def test_outlines_are_read(tmp_path: Path) -> None:
    src = write_yolo(tmp_path, "0 0 0 0.5 0 0.5 0.5 0 0.5\n")
    done = convert(src, tmp_path / "a.jsonl", KeepRules(geometry="prefer-poly"))
    assert done.things == [[("cat", (0, 0, 32, 0, 32, 24, 0, 24))]]
    assert convert(src, tmp_path / "b.jsonl").things == [[("cat", (0, 0, 32, 24))]]


def test_rounding_on_the_border_is_no_problem(tmp_path: Path) -> None:
    src = write_yolo(tmp_path, "0 0.166667 0.5 0.333335 1\n")
    done = convert(src, tmp_path / "a.jsonl", strict=True)
    assert done.things[0][0][1][0] == 0
    assert done.counts == {"changed: within 0.02 pixels of the border: put on it": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2 0.5 0.5 0.1 0.1", "a class number without a name"),
        ("-1 0.5 0.5 0.1 0.1", "a class number without a name"),
        ("0.5 0.5 0.5 0.1 0.1", "a class number without a name"),
        ("nan 0.5 0.5 0.1 0.1", "a class number without a name"),
        ("cat 0.5 0.5 0.1 0.1", "a line that is not numbers"),
        ("0 0.5 0.5\0 0.1 0.1", "a line that is not numbers"),
        ("0 nan 0.5 0.1 0.1", "coordinates that are no finite numbers"),
        ("0 0.5 0.5 -0.1 0.1", "a box of negative width or height"),
        ("0 0.5 0.5 0.1 0.1 1.9", "a fifth value that is no confidence, for one is not between 0"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "a line with neither 4 values nor an outline's pairs"),
        ("0 0.5", "a line with neither 4 values nor an outline's pairs"),
        ("0 320 240 50 50", "coordinates that are no shares of the picture, for they are above 1"),
    ],
)
def test_broken_lines_are_dropped(tmp_path: Path, line: str, reason: str) -> None:
    src = write_yolo(tmp_path, f"\ufeff{line}\n0 0.5 0.5 0.5 0.5")
    done = convert(src, tmp_path / "a.jsonl")
    assert done.things == [[("cat", (16, 12, 48, 36))]]
    (found,) = done.counts
    assert found.startswith(f"dropped: {reason}")
    assert done.report.findings[0].first.endswith("a.txt:1")


def test_pictures_without_labels_are_backgrounds_and_labels_without_pictures_are_lost(
    tmp_path: Path,
) -> None:
    src = write_yolo(tmp_path, "0 0.5 0.5 0.5 0.5")
    write_picture(tmp_path / "images" / "train" / "b.png")
    (tmp_path / "labels" / "train" / "c.txt").write_text("0 0.5 0.5 0.5 0.5")
    done = convert(src, tmp_path / "a.jsonl")
    assert [record.image for record in done.records] == ["images/train/a.png", "images/train/b.png"]
    assert done.counts == {
        "dropped: labels of a picture that is missing": 1,
        "noted: no label file: nothing of the classes is on it": 1,
        "noted: no objects: the answer is {}": 1,
    }


def test_a_split_is_chosen(tmp_path: Path) -> None:
    write_yolo(tmp_path, "0 0.5 0.5 0.5 0.5")
    src = tmp_path / "data.yaml"
    src.write_text("train: ../train/images\nval: [images/train]\nnames: [cat]\n")
    with pytest.raises(InputError, match="choose one of its splits with --split: train, val"):
        convert(src, tmp_path / "a.jsonl")
    assert len(convert(src, tmp_path / "a.jsonl", split="valid").records) == 1
    with pytest.raises(InputError, match=r"there is no '\.\./train/images' in"):
        convert(src, tmp_path / "b.jsonl", split="train")
    write_picture(tmp_path / "train" / "images" / "d.png")  # as Roboflow lays it out
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "d.txt").touch()
    done = convert(src, tmp_path / "b.jsonl", split="train")
    assert done.records[0].image == "train/images/d.png"


def test_a_list_of_pictures_is_a_split(tmp_path: Path) -> None:
    src = write_yolo(tmp_path, "0 0.5 0.5 0.5 0.5")
    src.write_text("train: train.txt\nnames: [cat]\n")
    (tmp_path / "train.txt").write_text("./images/train/a.png\n./images/train/gone.png\n")
    done = convert(src, tmp_path / "a.jsonl")
    assert len(done.records) == 1
    assert done.counts["dropped: a picture that is missing"] == 1


def test_classes_may_stand_in_a_text_file(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert convert(tmp_path, tmp_path / "a.jsonl").things == [[("dog", (16, 12, 48, 36))]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "data.yaml:1: not YAML"),
        ("- a", "expected a mapping with names"),
        ("train: images/train", "names: expected a list or number: name, got None"),
        ("train: images/train\nnames: {a: b}", "names: expected a list or number: name"),
        ("train: 3\nnames: [a]", "there is no '3' in"),
        ("train: [[a]]\nnames: [a]", r"expected a folder of pictures, got \['a'\]"),
        ("train: images/train\nnames: {0: a, 0: b}", "yaml:2: not YAML: the key '0' stands twice"),
        ("train: images/train\nnames: [a, ]\nnc: 2", "nc says 2 classes, and names has 1"),
        ("train: images/train\nnames: [a, [b]]", "names: expected a list or number: name"),
        ("train: ../..\nnames: [a]", r"there is no '\.\./\.\.' in"),
        ("train: /etc\nnames: [a]", "there is no '/etc' in"),
        ("train: images/train\nnames: [a]\nkpt_shape: [17, 3]", "describes poses"),
        ("train: images\0\nnames: [a]", "not YAML"),
    ],
)
def test_a_broken_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    src = write_yolo(tmp_path, "")
    src.write_text(text)
    with pytest.raises(InputError, match=message):
        convert(src, tmp_path / "a.jsonl")


BOX = "0 0.5 0.5 0.5 0.5"
THING = ("cat", (16, 12, 48, 36))


def lay_out(folder: Path, picture: str, label: str, *, data: str) -> Path:
    write_picture(folder / picture)
    path = folder / label
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(BOX)
    (folder / "data.yaml").write_text(f"{data}\nnames: [cat]\n")
    return folder / "data.yaml"


@pytest.mark.parametrize(
    ("picture", "label", "entry"),
    [
        ("images/a.png", "labels/a.txt", "images"),
        ("Images/a.png", "Labels/a.txt", "images"),
        ("images/train/a.png", "LABELS/Train/a.TXT", "images/train"),
        ("images/a.PNG", "labels/A.Txt", "images"),
        ("train/images/a.png", "train/labels/a.txt", "../train/images"),
        ("train/Images/a.png", "train/labels/a.txt", "train\\images"),
        ("JPEGImages/a.png", "labels/a.txt", "JPEGImages"),
        ("obj/a.png", "obj/a.txt", "obj"),
        ("images/a.png", "images/a.txt", "images"),
        ("pics/a.png", "labels/pics/a.txt", "pics"),
        ("images/sub/a b.png", "labels/sub/a%20b.txt", "images"),
        ("images/images/a.png", "images/labels/a.txt", "images"),
    ],
)
def test_labels_are_found(tmp_path: Path, picture: str, label: str, entry: str) -> None:
    src = lay_out(tmp_path, picture, label, data=f"train: {entry}")
    done = convert(src, tmp_path / "out.jsonl", strict=True)
    assert done.things == [[THING]]
    assert done.records[0].image == picture
    assert done.counts == {}


@pytest.mark.parametrize(
    "line",
    [
        "images/a b.png",
        "./images\\a b.png",
        "images/a%20b.png ",
        ".\\Images\\A B.PNG",
        "{}/images/a b.png",
    ],
)
def test_labels_are_found_for_the_paths_of_a_list(tmp_path: Path, line: str) -> None:
    src = lay_out(tmp_path, "images/a b.png", "labels/a b.txt", data="train: train.txt")
    (tmp_path / "train.txt").write_text("\ufeff" + line.format(tmp_path) + "\r\n")
    assert convert(src, tmp_path / "out.jsonl", strict=True).things == [[THING]]


@pytest.mark.parametrize("images", ["images/train", "images", "."])
def test_labels_are_found_when_the_pictures_are_named(tmp_path: Path, images: str) -> None:
    data = "train: images/train"
    src = lay_out(tmp_path, "images/train/a.png", "labels/train/a.txt", data=data)
    done = convert(tmp_path, tmp_path / "a.jsonl", images=tmp_path / images, strict=True)
    assert done.things == [[THING]]
    src.unlink()
    (tmp_path / "classes.txt").write_text("cat")
    done = convert(tmp_path, tmp_path / "b.jsonl", images=tmp_path / images, strict=True)
    assert done.things == [[THING]]


def test_labels_are_found_when_the_pictures_are_elsewhere(tmp_path: Path) -> None:
    src = lay_out(tmp_path / "ds", "images/a.png", "labels/train/a.txt", data="train: images/train")
    (tmp_path / "pics" / "images").mkdir(parents=True)
    (tmp_path / "ds" / "images").rename(tmp_path / "pics" / "images" / "train")
    done = convert(src, tmp_path / "out.jsonl", images=tmp_path / "pics", strict=True)
    assert done.things == [[THING]]


@pytest.mark.parametrize("line", ["sub\\images\\a.png", "{}/sub/images/a.png", "sub/Images/A.PNG"])
def test_labels_are_found_from_within_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    lay_out(tmp_path, "sub/images/a.png", "sub/labels/a.txt", data="train: train.txt")
    (tmp_path / "train.txt").write_text(line.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert convert(Path(), Path("out.jsonl"), strict=True).things == [[THING]]
    assert convert(Path("data.yaml"), Path("b.jsonl"), strict=True).things == [[THING]]


def test_most_pictures_without_labels_are_an_error_that_says_where_it_looked(
    tmp_path: Path,
) -> None:
    src = lay_out(tmp_path, "images/a.png", "annotations/a.txt", data="train: images")
    with pytest.raises(InputError, match="1 of 1 pictures have no label file") as caught:
        convert(src, tmp_path / "out.jsonl")
    for place in ("labels/a.txt", "images/a.txt"):
        assert f"\n  {tmp_path / place}\n" in str(caught.value)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").touch()  # shows nothing, and says so
    done = convert(src, tmp_path / "out.jsonl")
    assert done.things == [[]]
    assert done.report.warnings == (
        "no picture has an object: all of them would teach that there is nothing",
    )


def test_some_pictures_without_labels_are_said_aloud_where_they_are_not_few(
    tmp_path: Path,
) -> None:
    src = lay_out(tmp_path, "images/a.png", "labels/a.txt", data="train: images")
    write_picture(tmp_path / "images" / "b.png")
    (warning,) = convert(src, tmp_path / "out.jsonl").report.warnings
    assert warning.startswith("1 of 2 pictures have no label file, and count as pictures that show")


def test_pictures_without_labels_can_be_left_out(tmp_path: Path) -> None:
    src = lay_out(tmp_path, "images/a.png", "labels/a.txt", data="train: images")
    for name in ("b.png", "c.png"):
        write_picture(tmp_path / "images" / name)
    with pytest.raises(
        InputError, match=r"(?s)2 of 3 pictures .* leave them out with --drop-empty"
    ):
        convert(src, tmp_path / "out.jsonl")
    assert convert(src, tmp_path / "out.jsonl", KeepRules(empty=False)).things == [[THING]]
    (tmp_path / "labels" / "a.txt").unlink()
    with pytest.raises(InputError, match="3 of 3 pictures have no label file"):
        convert(src, tmp_path / "b.jsonl", KeepRules(empty=False))


def test_a_label_file_is_not_taken_for_that_of_another_spelling(tmp_path: Path) -> None:
    src = lay_out(tmp_path, "images/A.png", "labels/A.txt", data="train: images")
    write_picture(tmp_path / "images" / "a.png")
    done = convert(src, tmp_path / "out.jsonl")
    assert done.things == [[THING], []]


def test_spellings_of_labels_that_fit_several_are_refused(tmp_path: Path) -> None:
    src = lay_out(tmp_path, "images/Ab.png", "labels/ab.txt", data="train: images")
    write_picture(tmp_path / "images" / "aB.png")
    with pytest.raises(InputError, match=r"ab.txt: may be the labels of .*Ab.png and of .*aB.png"):
        convert(src, tmp_path / "out.jsonl")
    (tmp_path / "labels" / "ab.TXT").touch()
    with pytest.raises(InputError, match=r"ab.TXT and .*ab.txt may both hold its labels"):
        convert(src, tmp_path / "out.jsonl")


def test_one_label_file_of_two_pictures_is_noted(tmp_path: Path) -> None:
    src = lay_out(tmp_path, "images/a.png", "labels/a.txt", data="train: images")
    write_picture(tmp_path / "images" / "a.jpg")
    done = convert(src, tmp_path / "out.jsonl")
    assert done.counts == {"noted: a picture whose label file is that of another as well": 2}


def test_pictures_of_other_formats_are_told(tmp_path: Path) -> None:
    src = lay_out(tmp_path, "images/a.png", "labels/a.txt", data="train: images")
    for name in ("b.heic", "c.gif"):
        (tmp_path / "labels" / name).with_suffix(".txt").write_text(BOX)
        (tmp_path / "images" / name).touch()
    write_picture(tmp_path / "images" / "c.gif")
    done = convert(src, tmp_path / "out.jsonl")
    assert len(done.records) == 2
    assert done.counts == {"dropped: labels of a file that is not read as a picture (.heic)": 1}


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    src = lay_out(tmp_path, "images/a.png", "labels/a.txt", data="train: images")
    write_picture(tmp_path / "images" / ".ipynb_checkpoints" / "a-checkpoint.png")
    for name in ("images/._a.png", "labels/._a.txt", "._data.yaml", "labels/.DS_Store"):
        (tmp_path / name).write_bytes(b"\0\5\xff")
    for at, place in enumerate((src, tmp_path)):
        done = convert(place, tmp_path / f"{at}.jsonl", strict=True)
        assert done.counts == {}
        assert done.things == [[THING]]


def test_names_are_the_text_that_was_written(tmp_path: Path) -> None:
    lines = "\n".join(f"{number} 0.5 0.5 0.5 0.5" for number in range(6))
    src = write_yolo(tmp_path, lines)
    for names in (
        "[yes, no, 010, 1.10, null, 'on']",
        "{0: yes, 1: no, 2: 010, 3: 1.10, 4: null, 5: on}",
    ):
        src.write_text(f"train: images/train\nval: ~\ntest: \nnames: {names}\n")
        done = convert(src, tmp_path / "out.jsonl", overwrite=True)
        assert [name for name, _ in done.things[0]] == ["yes", "no", "010", "1.10", "null", "on"]


def test_a_blank_line_does_not_shift_the_names(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n\n")
    things = convert(tmp_path, tmp_path / "a.jsonl", strict=True).things
    assert [name for name, _ in things[0]] == ["cat", "dog"]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(InputError, match="name different classes"):
        convert(tmp_path, tmp_path / "b.jsonl")


def test_several_descriptions_that_differ_are_refused(tmp_path: Path) -> None:
    src = write_yolo(tmp_path, BOX)
    (tmp_path / "copy.yaml").write_text(src.read_text())
    assert convert(tmp_path, tmp_path / "a.jsonl").things == [[THING]]
    (tmp_path / "copy.yaml").write_text("train: images/train\nnames: [dog]")
    with pytest.raises(InputError, match=r"copy.yaml, data.yaml; name one"):
        convert(tmp_path, tmp_path / "b.jsonl")
