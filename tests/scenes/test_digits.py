import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import parse_record
from coordexp.scenes import digits as scenes
from coordexp.scenes.digits import (
    AS_WRITTEN,
    BENT,
    CLASS_NAMES,
    MAX_OBJECTS,
    SCENE_SIZE,
    Box,
    SceneComposer,
    Split,
    digit_indices,
    digits_of,
    draw_ink,
    photos_of,
    write_scenes,
)


def overlap(a: Box, b: Box) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height)


def test_no_digit_belongs_to_both_splits() -> None:
    train, heldout = digit_indices("train"), digit_indices("heldout")
    assert set(train).isdisjoint(heldout)
    assert len(train) + len(heldout) == len(load_digits().target)
    pixels = [{glyph.tobytes() for glyph in digits_of(split)[0]} for split in ("train", "heldout")]
    assert pixels[0].isdisjoint(pixels[1])


def test_every_class_is_in_both_splits() -> None:
    for split in ("train", "heldout"):
        assert set(digits_of(split)[1]) == set(range(len(CLASS_NAMES)))


def test_the_splits_cut_each_photo_into_disjoint_parts() -> None:
    for whole, train, heldout in zip(
        load_sample_images().images, photos_of("train"), photos_of("heldout"), strict=True
    ):
        assert np.array_equal(np.concatenate([train, heldout], axis=1), whole)
        assert min(heldout.shape[:2]) > SCENE_SIZE


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_composer_draws_digits_and_photos_of_its_own_split_alone(split: Split) -> None:
    composer = SceneComposer(split)
    glyphs, labels = digits_of(split)
    assert np.array_equal(composer.glyphs, glyphs)
    assert np.array_equal(composer.labels, labels)
    for photo, part in zip(composer.photos, photos_of(split), strict=True):
        assert np.array_equal(np.asarray(photo), part)


def test_a_scene_holds_what_it_promises() -> None:
    composer = SceneComposer("train", handwriting=BENT)
    rng = np.random.default_rng(0)
    for count in range(1, MAX_OBJECTS + 1):
        scene = composer.compose(rng, count=count)
        assert scene.image.shape == (SCENE_SIZE, SCENE_SIZE, 3)
        assert 1 <= len(scene.digits) <= count
        boxes = [digit.box for digit in scene.digits]
        assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
        for index, (x1, y1, x2, y2) in enumerate(boxes):
            assert 0 <= x1 < x2 <= SCENE_SIZE
            assert 0 <= y1 < y2 <= SCENE_SIZE
            assert not any(overlap(boxes[index], other) for other in boxes[:index])


def test_boxes_are_tight_around_the_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a black ground whatever is bright is ink; the box must be its bounding box.
    monkeypatch.setattr(
        SceneComposer, "_ground", lambda *_: (np.zeros((SCENE_SIZE, SCENE_SIZE, 3)), True)
    )
    composer = SceneComposer("heldout")
    rng = np.random.default_rng(1)
    for _ in range(20):
        scene = composer.compose(rng, count=1)
        (digit,) = scene.digits
        ink = scene.image.max(axis=2) / 255.0
        x1, y1, x2, y2 = digit.box
        outside = ink.copy()
        outside[y1:y2, x1:x2] = 0
        assert outside.max() == 0
        for edge in (ink[y1], ink[y2 - 1], ink[:, x1], ink[:, x2 - 1]):
            assert edge.max() > 0.3  # at least half opaque ink of the dimmest colour, 0.65


def test_unbent_ink_is_the_digit_as_it_was_written() -> None:
    glyphs, _ = digits_of("heldout")
    ink = draw_ink(glyphs[0], 48, np.random.default_rng(0), handwriting=AS_WRITTEN)
    rows, columns = np.nonzero(glyphs[0] > 0.45)
    glyph = glyphs[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    small = Image.fromarray(ink.astype(np.float32)).resize(glyph.shape[::-1], Image.Resampling.BOX)
    assert np.corrcoef(np.asarray(small).ravel(), glyph.ravel())[0, 1] > 0.8


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    first = write_scenes(tmp_path / "a", split="heldout", count=3, seed=5)
    second = write_scenes(tmp_path / "b", split="heldout", count=3, seed=5)
    other = write_scenes(tmp_path / "c", split="heldout", count=3, seed=6)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    for image in (tmp_path / "a" / "images").iterdir():
        assert image.read_bytes() == (tmp_path / "b" / "images" / image.name).read_bytes()


def test_both_splits_fit_into_one_directory(tmp_path: Path) -> None:
    train = write_scenes(tmp_path, split="train", count=2, seed=0)
    heldout = write_scenes(tmp_path, split="heldout", count=2, seed=0)
    assert train != heldout
    assert len(list((tmp_path / "images").iterdir())) == 4


def test_written_scenes_are_records_with_their_pictures(tmp_path: Path) -> None:
    path = write_scenes(tmp_path, split="train", count=8, seed=0)
    records = [
        parse_record(json.loads(line), SPEC_ALPHABET) for line in path.read_text().splitlines()
    ]
    assert len(records) == 8
    for record in records:
        with Image.open(path.parent / record.image) as picture:
            assert picture.size == (record.width, record.height)
            assert picture.mode == "RGB"
        assert 1 <= len(record.objects) <= MAX_OBJECTS
        assert {item.desc for item in record.objects} <= set(CLASS_NAMES)


def test_a_crowd_of_digits_leaves_out_those_without_room() -> None:
    composer = SceneComposer("train")
    scene = composer.compose(np.random.default_rng(0), count=40)
    assert MAX_OBJECTS < len(scene.digits) < 40


def test_scene_size_is_a_whole_number_of_bins_wide() -> None:
    # Every pixel edge has a bin of its own, so integer answers can be exact.
    bins = {int(edge / scenes.SCENE_SIZE * 999 + 0.5) for edge in range(SCENE_SIZE + 1)}
    assert len(bins) == SCENE_SIZE + 1
