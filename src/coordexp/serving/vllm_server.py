"""vLLM's own server, told what its offline engine is told, in the place of this process."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordexp.client.asked_model import AskedModel, load_asked_model, served_name
from coordexp.errors import InputError, install_advice
from coordexp.inference.run.predictor import load_encoder
from coordexp.inference.run.vllm_backend import load_stop_ids
from coordexp.inference.run.vllm_engine import (
    check_engine_options,
    check_merged,
    engine_options,
    server_flags,
)

# Words of the prompt around the picture, its own question included.
_PROMPT_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmServer:
    """How vLLM serves a model.

    Args:
        host: Where it listens.
        port: Where it listens.
        max_new_tokens: Longest answer that there has to be room for.
        engine: What the user tells its engine, by name.
    """

    host: str
    port: int
    max_new_tokens: int
    engine: Mapping[str, object] = field(default_factory=dict)


def is_vllm_installed() -> bool:
    """Return whether vLLM can be found; it is not imported, which takes many seconds."""
    return importlib.util.find_spec("vllm") is not None


def load_vllm_model(model: Path) -> AskedModel:
    """Return how a model is asked that vLLM can serve.

    Raises:
        CheckpointError: If it is an adapter, or says nothing of how it is asked.
        InputError: If vLLM is not installed.
    """
    check_merged(model)
    asked = load_asked_model(model)
    if not is_vllm_installed():
        raise InputError(f"vLLM is not installed; {install_advice('vllm')}")
    return asked


def vllm_command(model: AskedModel, server: VllmServer, *, on_cpu: bool) -> list[str]:
    """Return the command that starts vLLM's server.

    Args:
        model: What is served.
        server: How.
        on_cpu: Whether there is no GPU.

    Raises:
        InputError: If the user tells the engine what follows from the model.
    """
    # Its own names are checked by vLLM; here they would take the seconds of its import.
    check_engine_options(server.engine, list(server.engine))
    encoder, _ = load_encoder(model.path)
    picture_tokens = model.grid.most // model.grid.cell_px**2
    options = engine_options(
        model.path,
        model.style,
        stop_ids=load_stop_ids(model.path, encoder),
        max_model_len=picture_tokens + _PROMPT_TOKENS + server.max_new_tokens,
        on_cpu=on_cpu,
    )
    told = {
        "model": str(model.path),
        "served_model_name": served_name(model.path),
        "host": server.host,
        "port": server.port,
        **options,
        **server.engine,
    }
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *server_flags(told)]


def become_vllm(command: Sequence[str]) -> None:
    """Replace this process by vLLM's server; signals then reach it without a detour."""
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **os.environ}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], list(command), environment)
