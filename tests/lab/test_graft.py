"""The graft around a stand-in for `coordexp`: what is asked, taught, checked and kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import CoordExpError, InputError
from coordexp.lab.graft import HELDOUT_EVERY, GraftOptions, graft
from coordexp.model.card import WeightsCard, write_card
from coordexp.rendering.style import RenderingStyle, style_to_json

pytestmark = pytest.mark.slow

PICTURES = 2 * HELDOUT_EVERY
CONFIG = """
tuner: {train_type: full}
training: {max_steps: 2, learning_rate: 1.0e-3, optimizer: multimodal_coord_offset}
custom:
  coord_soft_ce_w1: {enabled: true}
  coord_offset: {enabled: true}
"""


def write_base(folder: Path, *, coord_tokens: bool) -> Path:
    folder.mkdir()
    style = RenderingStyle(
        system_prompt=None,
        user_prompt="Find it.",
        json_format="compact",
        object_ordering="sorted",
        coord_tokens=coord_tokens,
        alphabet=SPEC_ALPHABET,
        min_pixels=None,
        max_pixels=4096,
    )
    weights = WeightsCard(base=None, tokenizer="x", coord_ids=None, coord_rows=None, tie_head=None)
    write_card(folder, style=style_to_json(style), weights=weights)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Records whose objects the stand-in repeats as what the base says."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for number in range(PICTURES):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / "images" / f"{number}.png")
    rows = [
        {
            "images": [f"images/{number}.png"],
            "width": 64,
            "height": 64,
            "objects": [{"desc": "thing", "bbox_2d": [number, 2, 40.5, 50]}],
        }
        for number in range(PICTURES)
    ]
    path = folder / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def options(tmp_path: Path) -> GraftOptions:
    path = tmp_path / "graft.yaml"
    path.write_text(CONFIG, "utf-8")
    return GraftOptions(config=path, batch_size=4, max_new_tokens=100)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base", coord_tokens=False)


def stages(calls: Path) -> list[str]:
    return [line.split()[0] for line in calls.read_text("utf-8").splitlines()]


def test_the_base_is_asked_taught_and_asked_again(
    base: Path, pictures: Path, options: GraftOptions, calls: Path, tmp_path: Path
) -> None:
    figures = graft(base, pictures, tmp_path / "dst", options)
    assert stages(calls) == ["predict", "vocab", "train", "predict"]
    assert figures["pictures"] == {
        "asked": PICTURES,
        "left_out": 0,
        "train": PICTURES - 2,
        "heldout": 2,
        "objects": PICTURES - 2,
    }
    assert figures["agreement"]["AP"] == 1.0
    assert figures["grafted"]["AP"] == figures["base"]["AP"] == 1.0
    kept = {path.name for path in (tmp_path / "dst").iterdir()}
    assert kept == {"model.safetensors", "coordexp.json", "graft.json"}
    assert json.loads((tmp_path / "dst" / "graft.json").read_text("utf-8")) == figures


def test_without_a_configuration_nothing_is_trained(
    base: Path, pictures: Path, options: GraftOptions, calls: Path, tmp_path: Path
) -> None:
    graft(base, pictures, tmp_path / "dst", replace(options, config=None))
    assert stages(calls) == ["predict", "vocab", "predict"]
    assert (tmp_path / "dst" / "model.safetensors").exists()


def test_it_is_taught_in_the_words_in_which_the_base_was_asked(
    base: Path, pictures: Path, options: GraftOptions, calls: Path, tmp_path: Path
) -> None:
    graft(base, pictures, tmp_path / "dst", options)
    assert calls.exists()
    text = (tmp_path / "dst.work" / "train.yaml").read_text("utf-8")
    for wanted in ("user_prompt: Find it.", "json_format: compact", "max_pixels: 4096"):
        assert wanted in text


@pytest.mark.usefixtures("calls")
def test_no_picture_is_both_taught_and_checked(
    base: Path, pictures: Path, options: GraftOptions, tmp_path: Path
) -> None:
    graft(base, pictures, tmp_path / "dst", options)
    train, heldout = (
        {record.image for record in RecordFile(tmp_path / "dst.work" / name, SPEC_ALPHABET)}
        for name in ("train.jsonl", "heldout.jsonl")
    )
    assert train.isdisjoint(heldout)
    record = next(iter(RecordFile(tmp_path / "dst.work" / "train.jsonl", SPEC_ALPHABET)))
    assert load_image(tmp_path / "dst.work", record).size == (64, 64)
    assert len(train | heldout) == PICTURES


def test_a_graft_that_failed_goes_on_where_it_was(
    base: Path, pictures: Path, options: GraftOptions, calls: Path, tmp_path: Path
) -> None:
    (calls.parent / "fail").touch()
    with pytest.raises(CoordExpError, match="it went wrong"):
        graft(base, pictures, tmp_path / "dst", options)
    assert not (tmp_path / "dst").exists()
    (calls.parent / "fail").unlink()
    figures = graft(base, pictures, tmp_path / "dst", options)
    assert stages(calls) == ["predict", "vocab", "train", "train", "predict"]
    assert figures["cost"]["train"]["attempts"] == 2


@pytest.mark.usefixtures("calls")
def test_a_base_that_answers_in_coord_tokens_is_refused(
    pictures: Path, options: GraftOptions, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "coord", coord_tokens=True)
    with pytest.raises(InputError, match="answers in coord tokens already"):
        graft(base, pictures, tmp_path / "dst", options)
    assert not (tmp_path / "dst.work").exists()


def test_answers_that_name_nothing_are_no_lesson(
    base: Path, pictures: Path, options: GraftOptions, calls: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in pictures.read_text("utf-8").splitlines()]
    empty = [json.dumps(row | {"objects": []}) + "\n" for row in rows]
    pictures.write_text("".join(empty), "utf-8")
    with pytest.raises(InputError, match="name no object"):
        graft(base, pictures, tmp_path / "dst", options)
    assert stages(calls) == ["predict"]
