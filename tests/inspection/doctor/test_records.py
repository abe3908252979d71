"""Faults planted in records: missing pictures, normalised numbers, lengths, padding."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET, ints_to_tokens, pixels_to_bins
from coordexp.data.files.mix import Mix
from coordexp.inspection.doctor.doctor import CHECKS, examine, found_by
from coordexp.inspection.doctor.records import Feeds, Held
from coordexp.inspection.doctor.verdict import CheckResult, Pieces, evenly_spaced
from coordexp.rendering.encode import Encoder
from coordexp.training.run.build import build_encoder, build_style
from tests.inspection.conftest import MakeRun

Blocks = dict[str, Any]


@pytest.fixture(scope="module")
def encoder(make_run: MakeRun) -> Encoder:
    config = make_run()
    return build_encoder(config.model.path, build_style(config))


def look(name: str, pieces: Pieces) -> CheckResult:
    return found_by(next(check for check in CHECKS if check.name == name), pieces)


def fed(make_run: MakeRun, encoder: Encoder, **changes: Blocks) -> Pieces:
    """The pieces of a run whose records have been looked at."""
    config = make_run(**changes)
    pieces = Pieces(config, encoder)
    assert look("records", pieces).verdict == "green"
    return pieces


def write_boxes(folder: Path, boxes: list[list[Any]], *, size: tuple[int, int]) -> Path:
    """Write a record with a picture for each box."""
    Image.new("RGB", size).save(folder / "a.png")
    rows = [
        {
            "images": ["a.png"],
            "width": size[0],
            "height": size[1],
            "objects": [{"desc": "cat", "bbox_2d": box}],
        }
        for box in boxes
    ]
    path = folder / "boxes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_missing_picture_is_found_with_its_line(
    make_run: MakeRun, scenes: Path, tmp_path: Path
) -> None:
    train = Path(shutil.copytree(scenes.parent, tmp_path / "data")) / scenes.name
    sorted((train.parent / "images").iterdir())[2].unlink()
    pieces = Pieces(make_run(data={"train": str(train)}))
    found = look("records", pieces)
    assert found.verdict == "red"
    assert f"{train}:3" in found.found
    assert look("lengths", pieces).found == "not looked at, because of: template"


def test_evaluating_on_the_training_records_is_pointed_out(make_run: MakeRun, scenes: Path) -> None:
    found = look("records", Pieces(make_run(data={"train": str(scenes), "eval": str(scenes)})))
    assert found.verdict == "yellow"
    assert "6 held out: the same file" in found.found


# All edges within 1000 on pictures of 1920 x 1080: pixels that were normalised before.
WITHIN_1000 = [[10 + k, 20 + k, 900 + k, 900 + k] for k in range(30)]


@pytest.mark.parametrize("as_tokens", [False, True])
def test_coordinates_that_were_normalised_to_1000_are_found(
    make_run: MakeRun, tmp_path: Path, *, as_tokens: bool
) -> None:
    boxes: list[list[Any]] = [list(box) for box in WITHIN_1000]
    if as_tokens:  # prepared from normalised numbers: scaled twice
        boxes = [
            list(ints_to_tokens(pixels_to_bins(box, 1920, 1080, SPEC_ALPHABET), SPEC_ALPHABET))
            for box in boxes
        ]
    train = write_boxes(tmp_path, boxes, size=(1920, 1080))
    pieces = Pieces(make_run(data={"train": str(train)}))
    assert look("records", pieces).verdict == "green"
    found = look("normalised twice", pieces)
    assert found.verdict == "red"
    assert "30 such places" in found.found
    assert "width / 1000" in found.advice


@pytest.mark.parametrize("size", [(64, 64), (1280, 960), (4000, 3000)])
@pytest.mark.parametrize("as_tokens", [False, True])
def test_coordinates_in_fractions_are_found_and_called_so(
    make_run: MakeRun, tmp_path: Path, size: tuple[int, int], *, as_tokens: bool
) -> None:
    boxes: list[list[Any]] = [[0.1, 0.02 * k, 0.5, 0.9] for k in range(30)]
    if as_tokens and size == (64, 64):
        return  # one such pixel is 15 bins: real boxes look no different
    if as_tokens:
        boxes = [
            list(ints_to_tokens(pixels_to_bins(box, *size, alphabet=SPEC_ALPHABET), SPEC_ALPHABET))
            for box in boxes
        ]
    train = write_boxes(tmp_path, boxes, size=size)
    pieces = Pieces(make_run(data={"train": str(train)}))
    assert look("records", pieces).verdict == "green"
    found = look("normalised twice", pieces)
    assert (found.verdict, found.advice[:23]) == ("red", "multiply x by width and")


def test_real_pixels_of_large_pictures_pass(make_run: MakeRun, tmp_path: Path) -> None:
    boxes = [[10 + 40 * k, 20, 60 + 40 * k, 900] for k in range(40)]
    train = write_boxes(tmp_path, boxes, size=(1920, 1080))
    pieces = Pieces(make_run(data={"train": str(train)}))
    assert look("records", pieces).verdict == "green"
    assert look("normalised twice", pieces).verdict == "green"


def test_a_host_that_would_scale_again_is_pointed_out(make_run: MakeRun) -> None:
    tokens = {"enabled": True, "skip_bbox_norm": False}
    pieces = Pieces(make_run(custom={"coord_tokens": tokens}))
    assert look("records", pieces).verdict == "green"
    assert look("normalised twice", pieces).verdict == "yellow"
    pieces.put(pieces.take(Config).model_copy(update={"host": "ms_swift"}))
    assert look("normalised twice", pieces).verdict == "red"


def test_over_long_records_fail_or_are_counted(make_run: MakeRun, encoder: Encoder) -> None:
    short = {"global_max_length": 140}
    failing = fed(make_run, encoder, training=short)
    found = look("lengths", failing)
    assert found.verdict == "red"
    assert "training.global_max_length is 140" in found.found
    assert look("batches", failing).found == "not looked at, because of: lengths"

    dropping = fed(make_run, encoder, training={**short, "overlong": "drop"})
    found = look("lengths", dropping)
    assert found.verdict == "yellow"
    assert "examples are over 140 and dropped" in found.found
    assert dropping.take(Feeds).longest <= 140
    assert len(dropping.take(Feeds).indices()) < 6


def test_packs_are_shown_and_empty_ones_pointed_out(make_run: MakeRun, encoder: Encoder) -> None:
    packing = {"packing": True, "global_max_length": 400, "per_device_train_batch_size": 1}
    packing["per_device_eval_batch_size"] = 1
    full = fed(make_run, encoder, training=packing)
    assert look("lengths", full).verdict == "green"
    found = look("batches", full)
    assert found.verdict == "green"
    plan = full.take(Feeds).train.plan
    assert found.found.startswith(f"{plan.count(0)} packs of 400 tokens, ")
    (sheet,) = found.sheets
    assert sheet.rows[0][0].startswith("train.jsonl:")
    assert sum(int(row[1]) for row in sheet.rows) == 6

    empty = fed(make_run, encoder, training={**packing, "global_max_length": 4000})
    assert look("lengths", empty).verdict == "green"
    assert look("batches", empty).verdict == "yellow"


def test_much_padding_is_pointed_out(
    make_run: MakeRun, encoder: Encoder, scenes: Path, tmp_path: Path
) -> None:
    train = Path(shutil.copytree(scenes.parent, tmp_path / "data")) / scenes.name
    rows = [json.loads(line) for line in train.read_text().splitlines()][:3]
    rows[0]["objects"] = rows[0]["objects"][:1] * 60
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pieces = fed(make_run, encoder, data={"train": str(train)})
    assert look("lengths", pieces).verdict == "green"
    found = look("batches", pieces)
    assert found.verdict == "yellow"
    assert "training.packing: true" in found.advice


def test_a_few_of_many_are_spread_over_all() -> None:
    assert evenly_spaced(range(3), 4) == [0, 1, 2]
    assert evenly_spaced(range(1000), 3) == [0, 499, 999]


def test_nothing_is_held_out_unless_asked_for(make_run: MakeRun, encoder: Encoder) -> None:
    pieces = fed(make_run, encoder)
    assert pieces.take(Held).records is None
    assert len(pieces.take(Mix)) == 6


def write_negatives(folder: Path, scenes: Path, *, before: int, with_objects: int) -> Path:
    """Write pictures without objects, and after them records with some."""
    rows = [json.loads(line) for line in scenes.read_text().splitlines()]
    empty = [{**rows[k % len(rows)], "objects": []} for k in range(before)]
    path = folder / "sparse.jsonl"
    chosen = [*empty, *rows[:with_objects]]
    for row in chosen:
        for image in row["images"]:
            (folder / image).parent.mkdir(exist_ok=True)
            shutil.copyfile(scenes.parent / image, folder / image)
    path.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    return path


@pytest.mark.slow
def test_a_first_batch_of_pictures_without_objects_is_no_fault(
    make_run: MakeRun, scenes: Path, tmp_path: Path
) -> None:
    train = write_negatives(tmp_path, scenes, before=60, with_objects=1)
    diagnosis = examine(make_run(data={"train": str(train)}))
    ill = {name: told.found for name, told in diagnosis.findings.items() if told.verdict != "green"}
    assert not ill
    assert "coord" in diagnosis.findings["labels"].found


@pytest.mark.slow
def test_no_object_in_any_record_is_told(make_run: MakeRun, scenes: Path, tmp_path: Path) -> None:
    train = write_negatives(tmp_path, scenes, before=5, with_objects=0)
    findings = examine(make_run(data={"train": str(train)})).findings
    assert findings["labels"].found == "no record has an object"
    assert findings["loss"].verdict == "yellow"
