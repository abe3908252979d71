"""Benchmarks run: a figure that nobody can measure again is none.

Those without `--quick` need a model, a GPU or minutes, and are not covered.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = [
    path
    for path in sorted(FOLDER.glob("*.py"))
    if "--quick" in (text := path.read_text("utf-8")) and "__main__" in text
]


def kept() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (FOLDER / "results").iterdir()}


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs_and_keeps_nothing(script: Path) -> None:
    before = kept()
    command = [sys.executable, str(script), "--quick"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert kept() == before
