import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coordexp.client.asked_model import AskedModel, load_asked_model
from coordexp.client.request import ServedAsk
from coordexp.errors import CheckpointError, InputError
from coordexp.serving import vllm_server
from coordexp.serving.vllm_server import VllmServer, load_vllm_model, vllm_command

SERVER = VllmServer(host="127.0.0.1", port=8000, max_new_tokens=100)


@pytest.fixture
def asked(served_model: Path) -> AskedModel:
    return load_asked_model(served_model)


def flags(command: list[str]) -> dict[str, str]:
    assert command[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    return {name: value for name, _, value in (flag.partition("=") for flag in command[3:])}


def test_the_flags_are_those_that_the_scores_need(asked: AskedModel) -> None:
    given = flags(vllm_command(asked, SERVER, on_cpu=True))
    assert given["--model"] == str(asked.path)
    assert (given["--host"], given["--port"]) == ("127.0.0.1", "8000")
    assert given["--served-model-name"] == "digits"
    assert given["--max-logprobs"] == str(ServedAsk().top_logprobs)
    assert given["--generation-config"] == "vllm"
    assert given["--dtype"] == "float32"
    cells = asked.grid.most // asked.grid.cell_px**2
    assert int(given["--max-model-len"]) == cells + 1024 + 100


def test_the_limits_of_pictures_are_those_of_training(asked: AskedModel) -> None:
    limited = replace(asked, style=replace(asked.style, min_pixels=4096, max_pixels=90_000))
    given = flags(vllm_command(limited, SERVER, on_cpu=False))
    assert json.loads(given["--mm-processor-kwargs"]) == {"min_pixels": 4096, "max_pixels": 90_000}


def test_more_options_replace_ours_but_for_what_follows_from_the_model(asked: AskedModel) -> None:
    engine = {"max_model_len": 99, "tensor_parallel_size": 2, "enforce_eager": False}
    given = flags(vllm_command(asked, replace(SERVER, engine=engine), on_cpu=True))
    assert (given["--max-model-len"], given["--tensor-parallel-size"]) == ("99", "2")
    assert "--no-enforce-eager" in given
    with pytest.raises(InputError, match="follows from the model"):
        vllm_command(asked, replace(SERVER, engine={"max_logprobs": 5}), on_cpu=False)


def test_an_adapter_is_refused_with_the_way_to_a_merged_model(
    served_model: Path, as_adapter: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="coordexp merge "):
        load_vllm_model(as_adapter(tmp_path / "adapter", served_model))


def test_without_vllm_the_way_to_it_is_said(
    served_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "is_vllm_installed", lambda: False)
    with pytest.raises(InputError, match=r"pip install '\.\[vllm\]'"):
        load_vllm_model(served_model)


@pytest.mark.slow
def test_the_process_becomes_vllm(served_model: Path, tmp_path: Path) -> None:
    """A package of that name tells how it was started."""
    package = tmp_path / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "api_server.py").write_text(
        "import os, sys\n"
        "print('VLLM', os.getpid(), os.environ['VLLM_NO_USAGE_STATS'], sys.argv[1:])\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-m", "coordexp", "serve", str(served_model), "--port", "0"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "curl -s http://127.0.0.1:" in said
    assert f"VLLM {process.pid} 1 [" in said
    assert "'--max-logprobs=256'" in said
