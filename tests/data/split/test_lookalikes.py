"""Copies of a picture look like it, other pictures do not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.split.lookalikes import Look, alike_pairs, look_at, look_of


@pytest.fixture(scope="module")
def pictures(scenes: Path) -> list[Image.Image]:
    records = RecordFile(scenes, SPEC_ALPHABET)
    return [load_image(records.root, record) for record in records]


def looked(root: Path, picture: Image.Image, name: str, **how: int) -> Look:
    picture.save(root / name, **how)
    width, height = picture.size
    look = look_at(root, Record((name,), width, height, ()))
    assert look is not None
    return look


def test_copies_are_found_and_others_are_not(pictures: list[Image.Image], tmp_path: Path) -> None:
    looks = [looked(tmp_path, picture, f"{k}.png") for k, picture in enumerate(pictures)]
    first = pictures[0]
    half = first.resize((first.width // 2, first.height // 2))
    copies = [
        looked(tmp_path, first, "bad.jpg", quality=25),
        looked(tmp_path, half, "half.png"),
        looked(tmp_path, ImageEnhance.Contrast(first).enhance(0.7), "pale.png"),
    ]
    pairs = set(alike_pairs([*looks, *copies], 0.97))
    of_first = [0, *range(len(looks), len(looks) + 3)]
    assert pairs == {(one, other) for one in of_first for other in of_first if one < other}


def test_a_large_jpeg_is_looked_at_in_small_as_in_full(
    pictures: list[Image.Image], tmp_path: Path
) -> None:
    large = pictures[0].resize((1600, 1200), Image.Resampling.BICUBIC)
    small = looked(tmp_path, large, "large.jpg", quality=95)
    full = look_of(large.convert("L"))
    assert full is not None
    assert float(small @ full) > 0.999


def test_a_picture_that_lies_is_looked_at_upright(
    pictures: list[Image.Image], tmp_path: Path
) -> None:
    wide = pictures[0].resize((200, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(tmp_path / "a.jpg", exif=exif, quality=95)
    look = look_at(tmp_path, Record(("a.jpg",), 100, 200, ()))
    upright = look_of(wide.rotate(-90, expand=True).convert("L"))
    assert look is not None
    assert upright is not None
    assert float(look @ upright) > 0.99


def test_a_single_grey_looks_like_nothing() -> None:
    assert look_of(Image.new("L", (50, 50), 200)) is None


def test_pairs_across_blocks_are_those_of_a_slow_search() -> None:
    draw = np.random.default_rng(0)
    table = draw.normal(size=(1100, 256)).astype(np.float32)
    table[700] = table[3] + 0.01 * table[9]
    table[1090] = table[3]
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    assert sorted(alike_pairs(list(table), 0.9)) == [(3, 700), (3, 1090), (700, 1090)]
    assert not list(alike_pairs([], 0.9))
