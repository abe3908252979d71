import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.scenes.canvas import FINE, Canvas, Named, Picture
from coordexp.scenes.icons import ICONS, icon_outline
from coordexp.scenes.tasks import TASKS, pictures_of, write_task

NEW = ["new-looks", "new-convention"]
GENERATED = [name for name in TASKS if name != "tree-crowns"]


def some(task: str, count: int = 12, *, seed: int = 5) -> list[Picture]:
    return list(islice(pictures_of(TASKS[task], "train", seed=seed), count))


@pytest.mark.usefixtures("crown_package")
@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_paints_the_same_pictures_and_another_one_others(task: str) -> None:
    first, again, other = some(task, 2), some(task, 2), some(task, 2, seed=6)
    for one, same in zip(first, again, strict=True):
        assert np.array_equal(one.image, same.image)
        assert one.things == same.things
    assert any(one.things != two.things for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize("task", NEW)
def test_edges_lie_between_the_pixels(task: str) -> None:
    edges = [edge for picture in some(task, 30) for thing in picture.things for edge in thing.box]
    assert np.mean([edge != round(edge) for edge in edges]) > 0.8


@pytest.mark.parametrize("task", GENERATED)
def test_boxes_lie_inside_the_picture_and_apart(task: str) -> None:
    for picture in some(task, 30):
        height, width = picture.image.shape[:2]
        for number, thing in enumerate(picture.things):
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            for other in picture.things[number + 1 :]:
                across = min(x2, other.box[2]) - max(x1, other.box[0])
                down = min(y2, other.box[3]) - max(y1, other.box[1])
                assert across <= 0 or down <= 0


def test_a_box_ends_where_the_paint_ends() -> None:
    """Paint over black: what is lit, to a fraction of a pixel, is what the box says."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        x1, y1 = rng.integers(1, 200, size=2) / FINE
        width, height = rng.integers(40, 200, size=2) / FINE
        canvas = Canvas(np.zeros((64, 64, 3), dtype=np.float32), takes_light=True)
        corner = int(x1), int(y1)
        fine = Image.new("L", (36 * FINE, 36 * FINE))
        left, top = round((x1 - corner[0]) * FINE), round((y1 - corner[1]) * FINE)
        right, bottom = left + round(width * FINE), top + round(height * FINE)
        fine.paste(255, (left, top, right, bottom))
        canvas.paint(fine, corner, np.ones(3, dtype=np.float32))
        lit = canvas.finished().image[..., 0] / 255
        assert lit.max(0).sum() == pytest.approx(width, abs=0.02)
        assert lit.max(1).sum() == pytest.approx(height, abs=0.02)
        assert np.flatnonzero(lit.any(0))[0] == int(x1)


def test_icons_are_told_apart_by_their_outlines() -> None:
    assert len(set(ICONS)) == 10
    outlines = [np.concatenate(icon_outline(icon)) for icon in ICONS]
    assert len({outline.tobytes() for outline in outlines}) == 10
    for outline in outlines:
        assert outline[:, 1].min() == pytest.approx(0)
        assert outline[:, 1].max() == pytest.approx(1)
        assert outline[:, 0].min() == pytest.approx(0)


def test_a_number_is_named_by_its_figures_and_boxed_as_a_whole() -> None:
    things = [thing for picture in some("new-convention", 40) for thing in picture.things]
    assert {len(thing.name) for thing in things} == {1, 2}
    assert all(thing.name.isdigit() for thing in things)
    shapes = {
        length: np.mean(
            [
                (thing.box[2] - thing.box[0]) / (thing.box[3] - thing.box[1])
                for thing in things
                if len(thing.name) == length
            ]
        )
        for length in (1, 2)
    }
    assert shapes[2] > 1.5 * shapes[1]
    assert len({picture.image.shape for picture in some("new-convention", 40)}) > 2


def test_a_smaller_size_is_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    for size in (3, 5):
        write_task(
            tmp_path / str(size), TASKS["new-looks"], train=size, heldout=2, seed=1, heldout_seed=0
        )
    small, large = (
        (tmp_path / str(size) / "train.jsonl").read_text("utf-8").splitlines() for size in (3, 5)
    )
    assert large[:3] == small
    first = "images/train_000001.png"
    assert (tmp_path / "3" / first).read_bytes() == (tmp_path / "5" / first).read_bytes()


def test_held_out_pictures_are_the_same_for_every_seed(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_task(
            tmp_path / str(seed), TASKS["known"], train=2, heldout=2, seed=seed, heldout_seed=0
        )
    heldout = [(tmp_path / str(seed) / "heldout.jsonl").read_bytes() for seed in (1, 2)]
    train = [(tmp_path / str(seed) / "train.jsonl").read_bytes() for seed in (1, 2)]
    assert heldout[0] == heldout[1]
    assert train[0] != train[1]


def test_another_seed_of_held_out_pictures_draws_others_and_leaves_training_alone(
    tmp_path: Path,
) -> None:
    for seed in (0, 1):
        write_task(
            tmp_path / str(seed), TASKS["known"], train=2, heldout=2, seed=3, heldout_seed=seed
        )
    heldout = [(tmp_path / str(seed) / "heldout.jsonl").read_bytes() for seed in (0, 1)]
    train = [(tmp_path / str(seed) / "train.jsonl").read_bytes() for seed in (0, 1)]
    assert heldout[0] != heldout[1]
    assert train[0] == train[1]


@pytest.mark.usefixtures("crown_package")
@pytest.mark.parametrize("task", TASKS)
def test_what_is_written_is_a_file_of_records(task: str, tmp_path: Path) -> None:
    write_task(tmp_path / "data", TASKS[task], train=2, heldout=1, seed=0, heldout_seed=0)
    records = RecordFile(tmp_path / "data" / "train.jsonl", SPEC_ALPHABET)
    for index in range(2):
        record = records[index]
        with Image.open(tmp_path / "data" / record.image) as picture:
            assert picture.size == (record.width, record.height)
        assert record.objects


def test_a_record_keeps_fractions_of_pixels() -> None:
    picture = Picture(
        image=np.zeros((4, 6, 3), dtype=np.uint8),
        things=(Named(name="one", box=(0.5, 1.0, 2.12345, 3.25)),),
    )
    assert json.loads(json.dumps(picture.to_record("a.png"))) == {
        "images": ["a.png"],
        "width": 6,
        "height": 4,
        "objects": [{"desc": "one", "bbox_2d": [0.5, 1.0, 2.123, 3.25]}],
    }
