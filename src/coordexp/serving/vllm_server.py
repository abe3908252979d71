"""vLLM's own server with the flags that a model needs, in the place of this process."""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coordexp.client.asked_model import AskedModel, load_asked_model, served_name
from coordexp.client.request import ServedAsk
from coordexp.errors import CheckpointError, InputError, install_advice
from coordexp.model.card import load_weights_card

# Words of the prompt around the picture, its own question included.
_PROMPT_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmServer:
    """How vLLM serves a model.

    Args:
        host: Where it listens.
        port: Where it listens.
        max_new_tokens: Longest answer that there has to be room for.
        engine: More of its options, by their names without dashes in front; they replace ours.
    """

    host: str
    port: int
    max_new_tokens: int
    engine: Mapping[str, str] = field(default_factory=dict)


def is_vllm_installed() -> bool:
    """Return whether vLLM can be found; it is not imported, which takes many seconds."""
    return importlib.util.find_spec("vllm") is not None


def load_vllm_model(model: Path) -> AskedModel:
    """Return how a model is asked that vLLM can serve.

    Raises:
        CheckpointError: If it is an adapter, or says nothing of how it is asked.
        InputError: If vLLM is not installed.
    """
    asked = load_asked_model(model)
    if load_weights_card(model).base is not None:
        raise CheckpointError(
            f"{model}: vLLM serves no adapter of this kind, its engine ends on one; merge it "
            f"first: coordexp merge {model} DST (or serve it with --backend hf)"
        )
    if not is_vllm_installed():
        raise InputError(f"vLLM is not installed; {install_advice('vllm')}")
    return asked


def vllm_arguments(model: AskedModel, server: VllmServer, *, on_cpu: bool) -> list[str]:
    """Return the command that starts vLLM's server.

    Args:
        model: What is served.
        server: How.
        on_cpu: Whether there is no GPU: weights are then float32, as everywhere else here.
    """
    style = model.style
    limits = {"min_pixels": style.min_pixels, "max_pixels": style.max_pixels}
    pixels = {name: value for name, value in limits.items() if value is not None}
    picture_tokens = model.grid.most // model.grid.cell_px**2
    options: dict[str, str] = {
        "host": server.host,
        "port": str(server.port),
        "served-model-name": served_name(model.path),
        # As many as the client asks for; vLLM's own limit is 20.
        "max-logprobs": str(ServedAsk().top_logprobs),
        # Not the sampling and penalties of the base's generation_config.json.
        "generation-config": "vllm",
        "limit-mm-per-prompt": json.dumps({"image": 1, "video": 0}),
        # Else it reserves room for the model's whole context, a quarter of a million tokens.
        "max-model-len": str(picture_tokens + _PROMPT_TOKENS + server.max_new_tokens),
    }
    if pixels:
        options["mm-processor-kwargs"] = json.dumps(pixels)
    if on_cpu:
        options["dtype"] = "float32"
    options |= {name.replace("_", "-"): value for name, value in server.engine.items()}
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model.path)]
    for name, value in options.items():
        command += _flag(name, value)
    return command


def become_vllm(command: Sequence[str]) -> None:
    """Replace this process by vLLM's server; signals then reach it without a detour."""
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", **os.environ}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], list(command), environment)


def _flag(name: str, value: str) -> list[str]:
    if value in {"true", "True"}:
        return [f"--{name}"]
    if value in {"false", "False"}:
        return [f"--no-{name}"]
    return [f"--{name}", value]
