"""The report as people and machines get it."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from coordexp.cli.app import app

GOOD = {"desc": "cat", "bbox_2d": [1, 2, 3, 4]}


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def write(path: Path, *objects: object) -> Path:
    rows = [
        {"images": [f"{k}.png"], "width": 64, "height": 48, "objects": [item]}
        for k, item in enumerate(objects)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_good_file_ends_with_0_and_its_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, GOOD)
    done = check(path, "--no-images")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"{path}: 2 records, 2 objects",
        "0 violation(s), 0 warning(s)",
    ]


def test_violations_end_with_1_and_show_the_first_places_the_number_and_a_fix(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.jsonl", *[{**GOOD, "bbox_2d": [1, 2, 99, 4]}] * 12, {"desc": "[b]"})
    done = check(path, "--no-images")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    told = "bbox_2d: x = 99 outside the image of 64 x 48 pixels"
    assert [f"  {path}:{k}: objects[0]: {told}" in lines for k in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert "  ... and 9 more" in lines
    row = next(line for line in lines if line.startswith("    12"))
    assert row.split()[:2] == ["12", "outside-image"]
    assert "compare width" in row
    assert lines[-1] == "13 violation(s), 0 warning(s)"


def test_warnings_alone_end_with_0(tmp_path: Path) -> None:
    done = check(write(tmp_path / "a.jsonl", GOOD, {**GOOD, "desc": "Cat"}), "--no-images")
    assert done.exit_code == 0
    assert "desc-variants (warning)" in done.stdout
    assert done.stdout.endswith("0 violation(s), 1 warning(s)\n")


def test_machines_get_json_and_the_same_exit_code(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, 5)
    done = check(path, "--no-images", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert report["violations"] == 1
    assert report["findings"][0]["places"] == [
        {
            "file": str(path),
            "line": 2,
            "object": 0,
            "message": "expected an object with desc and a geometry, got 5",
        }
    ]


def test_pictures_are_looked_at_unless_told_otherwise(tmp_path: Path) -> None:
    done = check(write(tmp_path / "a.jsonl", GOOD))
    assert done.exit_code == 1
    assert "image-missing (violation)" in done.stdout


def test_a_file_that_is_not_there_ends_with_2(tmp_path: Path) -> None:
    done = check(tmp_path / "gone.jsonl")
    assert done.exit_code == 2
    assert done.stderr == f"error: {tmp_path / 'gone.jsonl'}: cannot be read: " + (
        "No such file or directory\n"
    )
    assert done.stdout == ""
