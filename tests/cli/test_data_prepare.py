"""`coordexp data prepare` as a user types it."""

import json
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner, Result

from coordexp.cli.app import app


def dataset(folder: Path) -> Path:
    Image.new("RGB", (100, 80)).save(folder / "a.png")
    box = {"desc": "cat", "bbox_2d": [1, 2, 30, 40], "colour": 0}
    row = {"images": ["a.png"], "width": 100, "height": 80, "objects": [box]}
    (folder / "raw.jsonl").write_text(json.dumps(row) + "\n{}\n")
    return folder / "raw.jsonl"


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "prepare", *map(str, arguments)])


def test_everything_that_happened_is_in_the_table(tmp_path: Path) -> None:
    src, dst = dataset(tmp_path), tmp_path / "t.jsonl"
    done = prepare(src, dst, "--drop-bad", "--max-pixels", 6000, "--workers", 1)
    assert done.exit_code == 0
    shown = " ".join(done.output.split())
    for words in ("records read │ 2", "records written │ 1", "pictures resized │ 1"):
        assert words in shown
    assert "left out: broken record or picture │ 1" in shown
    assert "key not carried along: objects[].colour │ 1" in shown
    assert "raw.jsonl:2: images: expected" in shown
    assert json.loads(dst.read_text())["resized"] == [64, 64]


def test_broken_records_beyond_the_first_few_are_counted(tmp_path: Path) -> None:
    src = dataset(tmp_path)
    src.write_text(src.read_text() + "{}\n" * 6)
    done = prepare(src, tmp_path / "t.jsonl", "--drop-bad", "--workers", 1)
    assert done.exit_code == 0
    assert done.output.count("left out: " + str(src)) == 5
    assert "... and 2 more; coordexp data check lists them" in done.output


def test_bad_input_exits_with_2_and_leaves_nothing(tmp_path: Path) -> None:
    src, dst = dataset(tmp_path), tmp_path / "t.jsonl"
    before = sorted(tmp_path.iterdir())
    for wish in (
        (),
        ("--max-pixels", 6000),
        ("--max-pixels", 7),
        ("--min-pixels", 0),
        ("--min-pixels", 9000, "--max-pixels", 6000),
        ("--workers", 0),
        ("--tiny", 0),
    ):
        done = prepare(src, dst, "--workers", 1, *wish)
        assert done.exit_code == 2
        assert sorted(tmp_path.iterdir()) == before


def test_a_smallest_size_alone_is_enough(tmp_path: Path) -> None:
    src, dst = dataset(tmp_path), tmp_path / "t.jsonl"
    done = prepare(src, dst, "--drop-bad", "--min-pixels", 40_000, "--workers", 1)
    assert done.exit_code == 0
    assert json.loads(dst.read_text())["resized"] == [224, 192]


def test_a_place_that_cannot_be_written_exits_with_1(tmp_path: Path) -> None:
    src = dataset(tmp_path)
    src.write_text(src.read_text().splitlines()[0])
    (tmp_path / "t.jsonl").mkdir()
    done = prepare(src, tmp_path / "t.jsonl", "--workers", 1)
    assert (done.exit_code, "expected a file to write" in done.output) == (2, True)


def test_whose_cells_they_are_is_asked_once_and_only_for_resizing(tmp_path: Path) -> None:
    src, dst = dataset(tmp_path), tmp_path / "t.jsonl"
    for wish, told in (
        (("--model", tmp_path), "give --max-pixels"),
        (("--family", "qwen3_vl"), "give --max-pixels"),
        (("--family", "no_such", "--max-pixels", 6000), "expected one of qwen3_vl"),
        (("--family", "qwen3_vl", "--model", tmp_path), "leave --family out"),
    ):
        done = prepare(src, dst, "--workers", 1, *wish)
        assert done.exit_code == 2
        assert told in " ".join(done.output.replace("│", " ").split())
