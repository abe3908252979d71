import json
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile, write_jsonl
from coordexp.errors import RecordError
from coordexp.lab.own_task import write_own_task
from coordexp.lab.study_file import OwnTask


@pytest.fixture
def task(tmp_path: Path) -> OwnTask:
    """Records of two folders whose pictures have the same names."""
    for split, count in (("train", 12), ("val", 5)):
        folder = tmp_path / split
        (folder / "deep").mkdir(parents=True)
        for number in range(count):
            shade = 100 * (split == "val") + number
            image = Image.new("RGB", (8 + number, 6), (shade, 0, 0))
            image.save(folder / "deep" / f"{number}.png")
        write_jsonl(folder / "all.jsonl", (record(number) for number in range(count)))
    return OwnTask(train=tmp_path / "train" / "all.jsonl", heldout=tmp_path / "val" / "all.jsonl")


def record(number: int) -> dict[str, object]:
    thing: dict[str, object] = {"desc": "car", "bbox_2d": [1, 0.5, 5.25, number / 3 + 1]}
    crowd = {"desc": "car", "bbox_2d": [0, 0, 8, 6], "iscrowd": 1}
    return {
        "images": [f"deep/{number}.png"],
        "width": 8 + number,
        "height": 6,
        "objects": [thing, crowd],
        "metadata": {"image_id": number},
    }


def numbers(path: Path) -> list[int]:
    return [
        json.loads(line)["metadata"]["image_id"]
        for line in path.read_text("utf-8").split("\n")
        if line
    ]


def test_a_smaller_size_is_the_beginning_of_a_larger_one(task: OwnTask, tmp_path: Path) -> None:
    for size in (3, 9):
        write_own_task(tmp_path / str(size), task, train=size, heldout=2, seed=4, heldout_seed=0)
    small, large = (numbers(tmp_path / str(size) / "train.jsonl") for size in (3, 9))
    assert large[:3] == small
    assert len(set(large)) == 9


def test_seeds_draw_other_training_pictures_and_ask_about_the_same(
    task: OwnTask, tmp_path: Path
) -> None:
    for seed in (0, 1):
        write_own_task(tmp_path / str(seed), task, train=6, heldout=3, seed=seed, heldout_seed=0)
    train = [numbers(tmp_path / str(seed) / "train.jsonl") for seed in (0, 1)]
    heldout = [(tmp_path / str(seed) / "heldout.jsonl").read_bytes() for seed in (0, 1)]
    assert train[0] != train[1]
    assert heldout[0] == heldout[1]


def test_records_come_whole_and_with_their_own_pictures(task: OwnTask, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_own_task(out, task, train=12, heldout=5, seed=0, heldout_seed=0)
    for split, shade in (("train", 0), ("heldout", 100)):
        for found in RecordFile(out / f"{split}.jsonl", SPEC_ALPHABET):
            number = found.width - 8
            given = record(number) | {"images": [f"{split}/deep/{number}.png"]}
            line = next(
                json.loads(text)
                for text in (out / f"{split}.jsonl").read_text("utf-8").splitlines()
                if json.loads(text)["width"] == found.width
            )
            assert line == given
            assert load_image(out, found).getpixel((0, 0)) == (shade + number, 0, 0)


def test_pictures_are_not_copied(task: OwnTask, tmp_path: Path) -> None:
    write_own_task(tmp_path / "out", task, train=1, heldout=1, seed=0, heldout_seed=0)
    (number,) = numbers(tmp_path / "out" / "train.jsonl")
    ours, theirs = (
        tmp_path / folder / "deep" / f"{number}.png" for folder in ("out/train", "train")
    )
    assert ours.samefile(theirs)


def test_a_picture_behind_a_symbolic_link_is_the_one_that_it_means(
    task: OwnTask, tmp_path: Path
) -> None:
    folder = tmp_path / "train" / "deep"
    (folder / "3.png").rename(tmp_path / "train" / "moved.png")
    (folder / "3.png").symlink_to("../moved.png")
    write_own_task(tmp_path / "out", task, train=12, heldout=1, seed=0, heldout_seed=0)
    assert (tmp_path / "out/train/deep/3.png").samefile(tmp_path / "train" / "moved.png")
    assert not (tmp_path / "out/train/deep/3.png").is_symlink()


@pytest.mark.parametrize("how", ["gone", "other size", "outside"])
def test_a_picture_that_does_not_do_is_named_with_its_line(
    task: OwnTask, tmp_path: Path, how: str
) -> None:
    broken = tmp_path / "train" / "deep" / "4.png"
    broken.unlink()
    if how == "other size":
        Image.new("RGB", (9, 9)).save(broken)
    if how == "outside":
        broken.symlink_to(tmp_path / "val" / "deep" / "4.png")
    with pytest.raises(RecordError, match=r"train/all\.jsonl:5: images\[0\]"):
        write_own_task(tmp_path / "out", task, train=12, heldout=1, seed=0, heldout_seed=0)
    assert not (tmp_path / "out").exists()
