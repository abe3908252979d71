"""vLLM itself, on the CPU in float32: one engine in this process, and one server.

The engine is asked about scenes that its model knows by heart, so that rounding changes no answer.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from coordexp.answers.prediction_lines import RowOptions
from coordexp.cli.app import app
from coordexp.client.detect import Client
from coordexp.client.request import ServedAsk
from coordexp.inference.run import vllm_backend
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import Backend, PredictOptions
from coordexp.inference.run.predictor import load_encoder
from coordexp.inference.run.vllm_backend import load_stop_ids
from coordexp.inference.run.vllm_engine import build_engine
from coordexp.rendering.style import RenderingStyle
from coordexp.scenes.digits import write_scenes
from tests.inference.run.overfitted import write_overfitted

pytestmark = pytest.mark.vllm

COUNT = 20
LONGEST = 300
MOST_SECONDS = 1200  # until a server answers; a minute on a quiet machine
FREE = AskOptions(constrain=False, restrict_to=None, max_new_tokens=LONGEST)
INSIDE = replace(FREE, constrain=True)
Ask = Callable[..., list[dict[str, Any]]]


class Llm(Protocol):
    """What is looked at of `vllm.LLM`."""

    llm_engine: Any


# In this process: two more would import all of vLLM again.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if find_spec("vllm") is None:
        pytest.skip("make check-vllm has it")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("known"), split="train", count=COUNT, seed=0)


@pytest.fixture(scope="module")
def model(make_style: Callable[..., RenderingStyle], scenes: Path) -> Path:
    path = scenes.parent / "model"
    write_overfitted(path, scenes, make_style(), steps=160)
    return path


@pytest.fixture(scope="module")
def engine(model: Path) -> Llm:
    encoder, _ = load_encoder(model)
    stop_ids = load_stop_ids(model, encoder)
    return build_engine(
        model, encoder.style, given={}, stop_ids=stop_ids, max_model_len=LONGEST + 100
    )


@pytest.fixture
def ask(
    model: Path, scenes: Path, engine: Llm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Ask:
    """`coordexp predict`, with the engine that is there already."""
    monkeypatch.setattr(vllm_backend, "build_engine", lambda *_, **__: engine)

    def predict(backend: Backend, asking: AskOptions) -> list[dict[str, Any]]:
        out = tmp_path / f"{backend}-{asking.constrain}.jsonl"
        options = PredictOptions(batch_size=COUNT, asking=asking, rows=RowOptions())
        run_predict(model, scenes, out, replace(options, backend=backend))
        return [json.loads(line) for line in out.read_text().splitlines()]

    return predict


def boxes(rows: list[dict[str, Any]]) -> list[tuple[str, list[float]]]:
    return [(item["desc"], item["bbox_2d"]) for row in rows for item in row["pred"]]


def parts(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [
        {"score": item["score"], **item["score_parts"]} | {"entropy": 0.0}
        for row in rows
        for item in row["pred"]
    ]


def test_vllm_says_what_transformers_says(ask: Ask) -> None:
    ours, theirs = ask("hf", FREE), ask("vllm", FREE)
    assert [row["raw_text"] for row in theirs] == [row["raw_text"] for row in ours]
    assert {row["finish_reason"] for row in theirs} == {"eos"}
    assert boxes(theirs) == boxes(ours)
    assert len(boxes(ours)) > COUNT
    for one, other in zip(parts(ours), parts(theirs), strict=True):
        assert other == pytest.approx(one, abs=1e-3)


def test_inside_the_grammar_it_says_the_same_where_it_was_right_freely(ask: Ask) -> None:
    free, inside = ask("vllm", FREE), ask("vllm", INSIDE)
    assert {row["parse"]["status"] for row in free} == {"ok"}
    assert [row["raw_text"] for row in inside] == [row["raw_text"] for row in free]


def test_restricted_it_says_nothing_else(ask: Ask) -> None:
    names = ("nine", "a dog (big)")
    rows = ask("vllm", replace(INSIDE, restrict_to=names))
    # What it knows by heart is something else: it may go on and on, or turn a corner.
    assert boxes(rows)
    assert {desc for desc, _ in boxes(rows)} <= set(names)


def test_an_answer_that_grows_too_long_is_cut_off_and_counted(ask: Ask) -> None:
    rows = ask("vllm", replace(INSIDE, max_new_tokens=12))
    assert {row["finish_reason"] for row in rows} == {"length"}
    assert {drop["reason"] for row in rows for drop in row["parse"]["dropped"]} == {"cut off"}


def test_the_engine_computes_in_float32_and_reads_no_further_than_it_has_to(engine: Llm) -> None:
    config = engine.llm_engine.vllm_config.model_config
    assert str(config.dtype) == "torch.float32"
    assert config.max_model_len == LONGEST + 100


def test_an_option_that_vllm_does_not_have_is_refused(
    model: Path, scenes: Path, tmp_path: Path
) -> None:
    arguments = ["predict", "--model", str(model), "--data", str(scenes), "--backend", "vllm"]
    arguments += ["--out", str(tmp_path / "p.jsonl"), "--engine", "max_modell_len=9"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "no such option; did you mean max_model_len?" in done.stderr


@pytest.fixture
def server(model: Path) -> Iterator[str]:
    """The address of vLLM's OpenAI server, as `coordexp serve` starts it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "coordexp", "serve", str(model), f"--port={port}"]
    settings = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    process = subprocess.Popen(command, env=settings, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server, and its engine in a process of its own."""
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            urlopen(address, timeout=10).close()
        except (URLError, TimeoutError):
            time.sleep(1)
        else:
            return
    raise AssertionError(f"no server after {MOST_SECONDS} s; exit code {process.poll()}")


def test_a_server_says_what_transformers_says(
    model: Path, scenes: Path, server: str, tmp_path: Path
) -> None:
    def predict(options: PredictOptions) -> list[dict[str, Any]]:
        out = tmp_path / f"{options.backend}.jsonl"
        run_predict(model, scenes, out, options)
        return [json.loads(line) for line in out.read_text().splitlines()]

    served = PredictOptions(
        batch_size=COUNT, asking=FREE, rows=RowOptions(), backend="http", url=server
    )
    theirs, ours = predict(served), predict(replace(served, backend="hf", url=None))
    assert [row["raw_text"] for row in theirs] == [row["raw_text"] for row in ours]
    assert boxes(theirs) == boxes(ours)
    for one, other in zip(parts(theirs), parts(ours), strict=True):
        assert one == pytest.approx(other, abs=1e-3)

    first = json.loads(scenes.read_text().partition("\n")[0])["images"][0]
    for constrain in (True, False):
        asked = ServedAsk(max_tokens=LONGEST, constrain=constrain)
        client = Client(server, model, ask=asked)
        assert client.is_vllm
        found = client.detect(scenes.parent / first)
        assert [(item.desc, list(item.geometry.values)) for item in found.objects] == boxes(
            ours[:1]
        )
