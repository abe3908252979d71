"""vLLM's engine for a merged model: what it has to be told, and what a user may tell it.

An offline engine takes the options by name, a server the same as flags.
"""

import json
import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from coordexp.answers.belief import LISTED_TOKENS
from coordexp.errors import CheckpointError, CoordExpError, InputError, install_advice
from coordexp.families.config_file import load_config
from coordexp.inference.run.stock_model import is_stock
from coordexp.model.card import load_weights_card
from coordexp.model.load import ADAPTER_CONFIG
from coordexp.rendering.style import RenderingStyle

TESTED_VERSION = "0.32"
"""What the tests run against; `pyproject.toml` asks for it too."""

ROOM = frozenset(
    {
        "cpu_offload_gb",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "pipeline_parallel_size",
        "tensor_parallel_size",
    }
)
"""Options that say where and how fast, and not what is computed."""

MAX_MODEL_LEN = "max_model_len"
"""Follows from the data, unless the user says it."""

_OURS = (
    "generation_config",
    "limit_mm_per_prompt",
    "max_logprobs",
    "mm_processor_kwargs",
    "model",
    "override_generation_config",
)


def check_merged(path: Path) -> None:
    """Check that a model is whole; vLLM's engine dies of our adapters after a long start.

    Raises:
        CheckpointError: If it is an adapter, with the command that merges it.
    """
    is_adapter = (path / ADAPTER_CONFIG).exists()
    if is_adapter or (not is_stock(path) and load_weights_card(path).base is not None):
        merged = path.with_name(f"{path.name}-merged")
        command = shlex.join(["coordexp", "merge", str(path), str(merged)])
        raise CheckpointError(
            f"{path}: an adapter, and vLLM serves merged models only; merge it with: {command}"
            f" and give {merged}"
        )


def import_vllm() -> Any:  # noqa: ANN401 - the package has types only where it is installed
    """Return the package, told to be quiet and to send nothing to its authors.

    Raises:
        InputError: If it is not installed, or not for this PyTorch.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        return import_module("vllm")
    except Exception as error:  # noqa: BLE001 - whatever one for another torch raises
        raise InputError(
            f"vLLM cannot be imported ({error}); it was tested with vLLM {TESTED_VERSION}: "
            f"{install_advice('vllm')}"
        ) from None


def engine_options(
    path: Path,
    style: RenderingStyle,
    *,
    stop_ids: Collection[int],
    max_model_len: int,
    on_cpu: bool,
) -> dict[str, object]:
    """Return what an engine has to be told to answer as `predict` does.

    Args:
        path: The merged model.
        style: What it was trained in.
        stop_ids: What ends an answer.
        max_model_len: Tokens of the longest prompt and answer. Without it, cache is kept for all
            that the model could read, which may be 262,144 tokens.
        on_cpu: Whether it runs on a CPU: in float32 then, as everywhere here, and not compiled,
            which takes longer than it saves.
    """
    pixels = {"min_pixels": style.min_pixels, "max_pixels": style.max_pixels}
    options: dict[str, object] = {
        MAX_MODEL_LEN: max_model_len,
        "max_logprobs": LISTED_TOKENS,
        "generation_config": "vllm",  # else its sampling and penalties are taken up
        "override_generation_config": {"eos_token_id": sorted(stop_ids)},
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        "mm_processor_kwargs": {key: value for key, value in pixels.items() if value is not None},
    }
    # vLLM halves weights that are stored in float32, unless it is told not to.
    if on_cpu or _stored_dtype(path) == "float32":
        options["dtype"] = "float32"
    if on_cpu:
        options["enforce_eager"] = True
    return options


def server_flags(options: Mapping[str, object]) -> list[str]:
    """Return engine options as the flags of `python -m vllm.entrypoints.openai.api_server`.

    Example:
        >>> server_flags({"max_model_len": 4096, "enforce_eager": True, "limit": {"image": 1}})
        ['--max-model-len=4096', '--enforce-eager', '--limit={"image": 1}']
    """
    flags = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        written = value if isinstance(value, str) else json.dumps(value)
        if isinstance(value, bool):
            flags.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            flags.append(f"{flag}={written}")
    return flags


def parse_engine_options(pairs: Sequence[str]) -> dict[str, object]:
    """Return `--engine key=value` options by name; a value is JSON, or else text.

    Raises:
        InputError: If one is no such pair, or a key is given twice.

    Example:
        >>> parse_engine_options(["enforce_eager=true", "tensor-parallel-size=2", "dtype=bfloat16"])
        {'enforce_eager': True, 'tensor_parallel_size': 2, 'dtype': 'bfloat16'}
    """
    options: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not key or not equals or key in options:
            problem = "given twice" if key in options else "expected key=value"
            raise InputError(f"--engine {pair}: {problem}, as in --engine max_model_len=4096")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def check_engine_options(given: Mapping[str, object], known: Sequence[str]) -> None:
    """Check the names of what a user tells the engine.

    Args:
        given: By name.
        known: The names that the installed vLLM knows.

    Raises:
        InputError: If there is no such option, or `predict` itself has to set it.
    """
    for name in given:
        if name in _OURS:
            raise InputError(f"--engine {name}: follows from the model, and is not to be given")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--engine {name}: vLLM's EngineArgs has no such option{hint}")


def build_engine(
    path: Path,
    style: RenderingStyle,
    *,
    given: Mapping[str, object],
    stop_ids: Collection[int],
    max_model_len: int,
) -> Any:  # noqa: ANN401 - `vllm.LLM`
    """Return an offline engine.

    Args:
        path: The merged model.
        style: What it was trained in.
        given: What the user tells it, which goes before all but what has to be.
        stop_ids: What ends an answer.
        max_model_len: Tokens of the longest prompt and answer.

    Raises:
        InputError: If vLLM is not installed, or refuses an option.
        CoordExpError: If the engine does not start.
    """
    vllm = import_vllm()
    check_engine_options(given, [field.name for field in fields(vllm.EngineArgs)])
    on_cpu = bool(import_module("vllm.platforms").current_platform.is_cpu())
    options = engine_options(
        path, style, stop_ids=stop_ids, max_model_len=max_model_len, on_cpu=on_cpu
    )
    tested = f"(vLLM {vllm.__version__}; tested with {TESTED_VERSION})"
    try:
        return vllm.LLM(model=str(path), **{**options, **given})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"vLLM refuses the model or an option of --engine {tested}: {error}"
        ) from None
    except RuntimeError as error:
        raise CoordExpError(
            f"vLLM's engine does not start {tested}: {error}; its own words are above; where "
            "memory does not suffice, try --engine gpu_memory_utilization=0.8 or --engine "
            "tensor_parallel_size=2"
        ) from error


def _stored_dtype(path: Path) -> object:
    config = load_config(path)
    text = config.get("text_config")
    places = [config, text] if isinstance(text, dict) else [config]
    found = (place.get(key) for place in places for key in ("dtype", "torch_dtype"))
    return next(filter(None, found), None)
