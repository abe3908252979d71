"""Ray itself, on this machine: the example that answers on many, with processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from coordexp.data.files.jsonl import write_jsonl
from coordexp.inference.run.predict import predict_file
from coordexp.inference.run.predictor import Predictor
from tests.inference.plainly import plainly

pytestmark = pytest.mark.vllm

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict_on_ray.py"
COUNT, LONGEST = 60, 40
MOST_SECONDS = 1200  # on a busy machine


@pytest.fixture(autouse=True)
def installed() -> None:
    if find_spec("ray") is None:
        pytest.skip("make check-vllm has it")


@pytest.fixture
def records(scenes: Path) -> Path:
    """The scenes over and over, each time with another prompt."""
    rows = [json.loads(line) for line in scenes.read_text().splitlines()]
    path = scenes.parent / "many.jsonl"
    write_jsonl(
        path, ({**rows[k % len(rows)], "prompt": f"Find number {k}."} for k in range(COUNT))
    )
    return path


@contextmanager
def running(arguments: Sequence[object], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give the example's process; whatever it has started ends with the block."""
    settings = {**os.environ, "HOME": str(home)}  # where Ray keeps a token
    command = [sys.executable, str(EXAMPLE), *map(str, arguments)]
    with subprocess.Popen(command, env=settings, start_new_session=True) as process:
        own: list[psutil.Process] = []
        try:
            yield process
        finally:
            if process.poll() is None:
                own = psutil.Process(process.pid).children(recursive=True)
                process.kill()
            psutil.wait_procs(own, timeout=60)  # they leave with the one that started them


def until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while not is_so():
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_record_is_lost_or_twice_where_a_worker_and_then_all_are_killed(
    predictor: Predictor, records: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ray.jsonl"
    part = tmp_path / "ray.jsonl.part0"
    limits = ["--workers", 2, "--share", 3, "--max-new-tokens", LONGEST]
    arguments = [predictor.path, records, out, *limits]

    def kept() -> int:
        return part.read_bytes().count(b"\n") - 1 if part.exists() else 0

    with running(arguments, tmp_path) as process:
        until(lambda: kept() >= 3, process)
        below = psutil.Process(process.pid).children(recursive=True)
        workers = [each for each in below if "MapWorker" in " ".join(each.cmdline())]
        workers[0].send_signal(signal.SIGKILL)
        before = kept()
        until(lambda: kept() >= before + 9, process)
    assert not out.exists()
    assert kept() < COUNT
    with running(arguments, tmp_path) as process:
        assert process.wait(MOST_SECONDS) == 0
    alone = tmp_path / "alone.jsonl"
    predict_file(predictor, records, alone, plainly(batch_size=3, max_new_tokens=LONGEST))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == [f"Find number {k}." for k in range(COUNT)]
    assert out.read_bytes() == alone.read_bytes()
    assert list(tmp_path.glob("ray.jsonl?*")) == []
