"""A model in the tiny size, and a real server of it in another process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.model.card import WeightsCard, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_tokenizer
from coordexp.rendering.style import style_to_json
from tests.rendering.plain import PLAIN_STYLE

STYLE = replace(PLAIN_STYLE, system_prompt="You see digits.")


@pytest.fixture(scope="session")
def served_model(tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "digits"
    shutil.copytree(tiny_expanded, path)
    weights = WeightsCard(
        base=None,
        tokenizer=tokenizer_fingerprint(load_tokenizer(path)),
        coord_ids=None,
        coord_rows=None,
        tie_head=None,
    )
    write_card(path, style=style_to_json(STYLE), weights=weights, classes=["six", "zero"])
    return path


@contextmanager
def running(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give a server's process and its URL, and end it."""
    command = [sys.executable, "-m", "coordexp", "serve", *map(str, arguments)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+?:\d+", line)
        assert found is not None, line + process.stdout.read()
        yield process, found.group()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def as_adapter() -> Callable[[Path, Path], Path]:
    """Write a card that calls its folder an adapter of some base."""

    def write(folder: Path, base: Path) -> Path:
        folder.mkdir()
        card = json.loads((base / "coordexp.json").read_text())
        card["weights"]["base"] = str(base)
        (folder / "coordexp.json").write_text(json.dumps(card))
        return folder

    return write
