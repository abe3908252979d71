from pathlib import Path

import pytest

from coordexp.data.convert.mapping import Choice
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
    done = convert(src, tmp_path / "a.jsonl", Choice(geometry="prefer-poly"))
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
        ("0 0.5 0.5 0.1 0.1 0.9", "a line with neither 4 values nor an outline's pairs"),
        ("0 0.5", "a line with neither 4 values nor an outline's pairs"),
        ("0 320 240 50 50", "a shape outside the picture"),
    ],
)
def test_broken_lines_are_dropped(tmp_path: Path, line: str, reason: str) -> None:
    src = write_yolo(tmp_path, f"\ufeff{line}\n0 0.5 0.5 0.5 0.5")
    done = convert(src, tmp_path / "a.jsonl")
    assert done.things == [[("cat", (16, 12, 48, 36))]]
    assert done.counts == {f"dropped: {reason}": 1}
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
        ("train: 3\nnames: [a]", "expected a folder of pictures, got 3"),
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
