"""`coordexp data convert` as it is typed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordexp.cli.app import app
from tests.data.convert.sources import coco_document, write_coco


@pytest.fixture
def src(tmp_path: Path) -> Path:
    things = ({"bbox": [1, 1, 3, 3]}, {"bbox": [60, 1, 9, 9]}, {"bbox": [1, 1, 3, 3], "iscrowd": 1})
    return write_coco(tmp_path / "coco", coco_document(*things))


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["data", "convert", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_table_says_what_became_of_everything(src: Path) -> None:
    folder = src.parents[1]
    code, out, err = run(folder, folder / "train.jsonl", "--split", "train")
    assert (code, err) == (0, "")
    text = " ".join(out.replace("│", " ").split())
    for words in ("read 1 3", "kept 1 3", "noted: a crowd: kept for 1", "clipped: overhangs its"):
        assert words in text
    assert "(id 2)" in out
    assert (folder / "train.jsonl").is_file()


def test_a_large_loss_is_a_warning_beside_the_table(tmp_path: Path) -> None:
    things = ({"bbox": [1, 1, 3, 3]}, {"bbox": [1, 1, 0, 9]})
    src = write_coco(tmp_path, coco_document(*things))
    code, out, err = run(src, tmp_path / "train.jsonl")
    assert code == 0
    assert "dropped: a box without area" in out
    assert err.startswith(
        "warning: 1 of 2 objects (50 %) were dropped, most of them: a box without"
    )


def test_strict_prints_the_table_and_fails(src: Path) -> None:
    folder = src.parents[1]
    code, out, err = run(src, folder / "train.jsonl", "--strict")
    assert (code, out) == (1, "")
    assert "clipped: overhangs" in err
    assert err.rstrip().endswith("error: 1 problem(s) and --strict: nothing was written")
    assert not (folder / "train.jsonl").exists()


def test_every_option_reaches_the_conversion(src: Path) -> None:
    folder = src.parents[1]
    options = (
        "--format coco --geometry prefer-poly --include cat --crowd keep --max-vertices 9"
        " --min-size 1 --max-objects 9 --drop-empty --zero-based --copy-images --overwrite"
    )
    code, out, _ = run(
        src, folder / "o" / "a.jsonl", *options.split(), "--images", folder / "train"
    )
    assert code == 0
    assert "asked for" not in out
    assert (folder / "o" / "a_images" / "a.png").is_file()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"images": [', "a.json:1: not JSON"),
        ("a.json", "{}", "expected the images, annotations and categories of COCO"),
        ("a.jsonl", "{}\n", "expected ODVG: filename, and detection or grounding, a line"),
        ("a.xml", "<annotation>", "a.xml:1: not XML"),
        ("a.csv", "a,b", "expected .json (COCO, LVIS, labelme), .jsonl (ODVG), .xml (CVAT, VOC)"),
        ("data.yaml", "names: [a]", "choose one of its splits with --split: none"),
    ],
)
def test_bad_input_is_told_without_a_traceback(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    code, out, err = run(tmp_path / name, tmp_path / "out.jsonl")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_folders_with_nothing_or_too_much_are_told(tmp_path: Path, src: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        assert run(folder, tmp_path / "out.jsonl")[0] == 2
    (src.parents[1] / "a.xml").write_text("<annotation/>")
    code, _, err = run(src.parents[1], src.parents[1] / "out.jsonl")
    assert code == 2
    assert "holds several formats (voc, coco or lvis); choose one with --format" in err
