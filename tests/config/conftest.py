from collections.abc import Callable
from pathlib import Path

import pytest

WriteYaml = Callable[..., Path]

MINIMAL = """\
model: {path: base}
training: {output_dir: out}
data: {train: train.jsonl}
"""


@pytest.fixture
def write_yaml(tmp_path: Path) -> WriteYaml:
    """Write a YAML file; by default on top of the least that a configuration needs."""

    def write(text: str, name: str = "run.yaml", *, complete: bool = True) -> Path:
        if complete:
            (tmp_path / "minimal.yaml").write_text(MINIMAL, encoding="utf-8")
            text = f"extends: minimal.yaml\n{text}"
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
