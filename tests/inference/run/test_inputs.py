"""What can be predicted on: records, a picture, a folder of pictures, and nothing else."""

from pathlib import Path

import pytest
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.errors import InputError, RecordError
from coordexp.inference.run.inputs import load_source


@pytest.fixture
def street(tmp_path: Path) -> Path:
    path = tmp_path / "Street 1.JPG"
    Image.new("RGB", (60, 40)).save(path)
    (tmp_path / "below").mkdir()
    Image.new("RGB", (20, 30)).save(tmp_path / "below" / "b.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return path


def test_a_picture_is_a_record_without_objects(street: Path) -> None:
    source = load_source(street, SPEC_ALPHABET)
    (record,) = [source[index] for index in range(len(source))]
    assert (record.image, record.width, record.height) == ("Street 1.JPG", 60, 40)
    assert (record.objects, record.prompt, source.root) == ((), None, street.parent)


def test_a_prompt_is_asked_of_a_picture_and_of_all_in_a_folder(street: Path) -> None:
    for path, names in (
        (street, ["Street 1.JPG"]),
        (street.parent, ["Street 1.JPG", "below/b.png"]),
    ):
        source = load_source(path, SPEC_ALPHABET, prompt="Find every car.")
        records = [source[index] for index in range(len(source))]
        assert [(record.image, record.prompt) for record in records] == [
            (name, "Find every car.") for name in names
        ]


def test_records_are_not_asked_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(InputError, match='each its own "prompt"'):
        load_source(tmp_path / "a.jsonl", SPEC_ALPHABET, prompt="Find every car.")


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_a_prompt_of_nothing_is_refused(street: Path, prompt: str) -> None:
    with pytest.raises(InputError, match="--prompt: expected a question"):
        load_source(street, SPEC_ALPHABET, prompt=prompt)


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: no such picture"):
        load_source(tmp_path / "gone.png", SPEC_ALPHABET)


def test_a_broken_picture_is_found_when_its_turn_comes(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no png")
    source = load_source(tmp_path / "broken.png", SPEC_ALPHABET)
    with pytest.raises(RecordError):
        source[0]
