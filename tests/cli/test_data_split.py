"""What is said of a split."""

import shutil
from pathlib import Path

from typer.testing import CliRunner

from coordexp.cli.app import app


def test_parts_and_what_looks_alike_are_told(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes.parent, tmp_path / "data")
    src = tmp_path / "data" / scenes.name
    done = CliRunner().invoke(
        app, ["data", "split", str(src), "--part", "a=0.5", "--part", "b=0.5"]
    )
    assert done.exit_code == 0, done.output
    assert f"{src.with_suffix('.a.jsonl')}: 3 records (50.0%)" in done.stdout
    assert "6 records in 6 groups that stay together; 0 pairs of pictures look alike" in done.stdout
    assert "is not in" in done.stderr
    again = CliRunner().invoke(
        app, ["data", "split", str(src), "--part", "a=0.5", "--part", "b=0.6"]
    )
    assert again.exit_code == 2
    assert again.stderr == "error: --part: the shares add up to 1.1; expected 1\n"
