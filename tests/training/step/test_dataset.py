import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.augment.augment import Augmentation
from coordexp.data.contract.record import Record
from coordexp.data.files.image import check_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import RecordError
from coordexp.model.load import load_inputs, load_tokenizer
from coordexp.rendering.encode import Encoder
from coordexp.training.step.dataset import RecordDataset, check_records, check_texts
from tests.rendering.plain import PLAIN_STYLE

WritePicture = Callable[[str, bytes], Record]


@pytest.fixture(scope="module")
def encoder(tiny_expanded: Path) -> Encoder:
    style = replace(PLAIN_STYLE, object_ordering="random")
    processor = load_inputs(tiny_expanded, min_pixels=None, max_pixels=None)
    return Encoder(load_tokenizer(tiny_expanded), processor, style)


@pytest.fixture
def own_scenes(scenes: Path, tmp_path: Path) -> Path:
    """A copy of the scenes to spoil."""
    shutil.copytree(scenes.parent, tmp_path / "data")
    return tmp_path / "data" / scenes.name


@pytest.fixture
def write_picture(tmp_path: Path) -> WritePicture:
    def write(name: str, content: bytes) -> Record:
        (tmp_path / name).write_bytes(content)
        return Record(images=(name,), width=40, height=30, objects=())

    return write


def encoded(kind: str) -> bytes:
    file = BytesIO()
    Image.effect_noise((40, 30), 90).convert("RGB").save(file, kind)
    return file.getvalue()


def test_an_over_long_example_is_refused_with_file_and_line(scenes: Path, encoder: Encoder) -> None:
    length = len(
        RecordDataset(RecordFile(scenes, SPEC_ALPHABET), encoder, seed=0, max_length=None)[2]
    )
    assert RecordDataset(RecordFile(scenes, SPEC_ALPHABET), encoder, seed=0, max_length=length)[2]
    short = RecordDataset(RecordFile(scenes, SPEC_ALPHABET), encoder, seed=0, max_length=length - 1)
    with pytest.raises(RecordError, match=rf"train\.jsonl:3: the example has {length} tokens"):
        short[2]


EVERYTHING = Augmentation(
    flip_left_right=0.5, flip_up_down=0.5, crop=1, least_side=0.3, least_visible=0.2, colour=0.3
)


def test_each_epoch_has_its_own_view_of_a_record_and_no_longer_example(
    scenes: Path, encoder: Encoder
) -> None:
    records = RecordFile(scenes, SPEC_ALPHABET)
    plain = RecordDataset(records, encoder, seed=0, max_length=None)
    data, again = (
        RecordDataset(records, encoder, seed=0, max_length=None, augment=EVERYTHING)
        for _ in range(2)
    )
    seen = set()
    for epoch in (0, 1, 2, 3):
        data.set_epoch(epoch)
        for index in range(len(records)):
            example = data[index]
            assert len(example) <= len(plain[index])
            assert (example.image_grid_thw == plain[index].image_grid_thw).all()
        seen.add(data[0].pixel_values.numpy().tobytes())
    assert len(seen) == 4
    again.set_epoch(2)  # as a resumed run does, without the epochs before
    data.set_epoch(2)
    assert (again[0].pixel_values == data[0].pixel_values).all()
    assert (again[0].input_ids == data[0].input_ids).all()


def test_each_epoch_has_its_own_random_order(scenes: Path, encoder: Encoder) -> None:
    data = RecordDataset(RecordFile(scenes, SPEC_ALPHABET), encoder, seed=0, max_length=None)
    crowded = max(range(len(data)), key=lambda index: len(data.records[index].objects))
    orders = set()
    for epoch in range(4):
        data.set_epoch(epoch)
        orders.add(tuple(data[crowded].input_ids.tolist()))
    assert len(orders) > 1
    data.set_epoch(0)
    assert tuple(data[crowded].input_ids.tolist()) in orders


def test_whole_records_pass_the_check(scenes: Path) -> None:
    check_records(RecordFile(scenes, SPEC_ALPHABET))


def test_the_check_names_file_and_line(own_scenes: Path) -> None:
    records = RecordFile(own_scenes, SPEC_ALPHABET)
    (records.root / records[1].image).unlink()
    with pytest.raises(RecordError, match=r"train\.jsonl:2: .*there is no file"):
        check_records(records)


def test_the_check_finds_another_size(own_scenes: Path) -> None:
    lines = own_scenes.read_text().splitlines()
    row = json.loads(lines[3])
    row["width"] += 1
    own_scenes.write_text("\n".join([*lines[:3], json.dumps(row)]) + "\n")
    with pytest.raises(RecordError, match=r"train\.jsonl:4: .*128x128 pixels, the record says"):
        check_records(RecordFile(own_scenes, SPEC_ALPHABET))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_whole_picture_passes(kind: str, write_picture: WritePicture, tmp_path: Path) -> None:
    check_image(tmp_path, write_picture("picture", encoded(kind)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.97])
def test_a_truncated_picture_does_not_pass(
    kind: str, kept: float, write_picture: WritePicture, tmp_path: Path
) -> None:
    content = encoded(kind)
    record = write_picture("picture", content[: int(len(content) * kept)])
    with pytest.raises(RecordError, match="'picture' cannot be read as a picture"):
        check_image(tmp_path, record)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_few_bytes_after_the_end_are_forgiven(
    kind: str, write_picture: WritePicture, tmp_path: Path
) -> None:
    check_image(tmp_path, write_picture("picture", encoded(kind) + bytes(100)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_whole_picture_is_not_decoded(
    kind: str, write_picture: WritePicture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    record = write_picture("picture", encoded(kind))
    monkeypatch.setattr("coordexp.data.files.image.load_image", fail)
    check_image(tmp_path, record)


def test_pixels_without_a_defined_white_do_not_pass(
    write_picture: WritePicture, tmp_path: Path
) -> None:
    record = write_picture("wide.tiff", b"")
    Image.new("I", (40, 30)).save(tmp_path / "wide.tiff")
    with pytest.raises(RecordError, match="32 bits"):
        check_image(tmp_path, record)


def test_a_path_that_climbs_out_does_not_pass(write_picture: WritePicture, tmp_path: Path) -> None:
    write_picture("picture", encoded("PNG"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "picture")
    record = Record(images=("link",), width=40, height=30, objects=())
    with pytest.raises(RecordError, match="climbs out"):
        check_image(tmp_path / "data", record)


def test_the_check_finds_a_picture_that_is_too_thin(own_scenes: Path) -> None:
    Image.new("RGB", (10, 4000)).save(own_scenes.parent / "tall.png")
    row = {"images": ["tall.png"], "width": 10, "height": 4000, "objects": []}
    with own_scenes.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(RecordError, match=r"train\.jsonl:7: .*10x4000 is too thin.*crop"):
        check_records(RecordFile(own_scenes, SPEC_ALPHABET))


def test_special_tokens_of_another_spelling_are_found_before_training(
    own_scenes: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder.reserved, "_pattern", re.compile(r"<\|im_end\|>|\[INST\]"))
    lines = own_scenes.read_text().splitlines()
    row = json.loads(lines[2])
    row["objects"][1]["desc"] = "a [INST]"
    own_scenes.write_text("\n".join([*lines[:2], json.dumps(row), *lines[3:]]) + "\n")
    with pytest.raises(RecordError, match=r"train\.jsonl:3: objects\[1\]: .* token \[INST\]"):
        check_texts(RecordFile(own_scenes, SPEC_ALPHABET), encoder)
