"""The engines that spread a run over processes: DistributedDataParallel, DeepSpeed ZeRO and FSDP2.

All three are others' work. What is checked here is that they are asked for in a way that leaves the
loss and the offsets what they are.

- DeepSpeed is asked for by the configuration's key `deepspeed`, and by nothing else.
- FSDP is asked for by accelerate's launcher; only its second version is taken.
"""

import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import DistributedType
from accelerate.utils import FullyShardedDataParallelPlugin
from peft import PeftModel
from torch import Tensor, nn

from coordexp.config.deepspeed import load_deepspeed
from coordexp.config.schema import Config
from coordexp.errors import CoordExpError, InputError, install_advice
from coordexp.processes import is_launched

# What `accelerate launch --use_deepspeed` leaves in the environment, and nothing else does.
_LAUNCHERS_FSDP = "ACCELERATE_USE_FSDP"
_LAUNCHERS_DEEPSPEED = ("ACCELERATE_DEEPSPEED_ZERO_STAGE", "ACCELERATE_DEEPSPEED_CONFIG_FILE")


def check_launch(config: Config) -> None:
    """Refuse what the launcher and the configuration ask for together and cannot have.

    Raises:
        InputError: For DeepSpeed that the launcher chose, that is not installed, or that would have
            one process without a launcher; for a `deepspeed` JSON that does not fit; for FSDP with
            a base in four bits.
    """
    if config.model.quantization is not None and os.environ.get(_LAUNCHERS_FSDP) == "true":
        raise InputError(
            "model.quantization: it goes without FSDP, which cannot cut a layer in four bits as it "
            "does others; launch with torchrun alone, or set it to null"
        )
    if any(name in os.environ for name in _LAUNCHERS_DEEPSPEED):
        raise InputError(
            "the launcher chose DeepSpeed; let the configuration do that, with "
            "deepspeed: configs/deepspeed/zero2.json, and launch without --use_deepspeed"
        )
    if load_deepspeed(config) is None:
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise InputError(f"deepspeed: it is not installed; {install_advice('deepspeed')}")
    if not is_launched():
        raise InputError(
            "deepspeed: start the run through a launcher: "
            "torchrun --nproc_per_node GPUS -m coordexp train --config FILE"
        )


def engine_arguments(config: Config) -> dict[str, object]:
    """Return transformers' arguments that speak to the engine; DeepSpeed is ready to be used then.

    Raises:
        ConfigError: If DeepSpeed's JSON does not fit.
    """
    place_deepspeed(use_cpu=config.training.use_cpu)
    settings = deepspeed_settings(config)
    if settings is None:
        return {}
    silence_deepspeed()
    return {"deepspeed": settings, "bf16": settings["bf16"] == {"enabled": True}}


def deepspeed_settings(config: Config) -> dict[str, object] | None:
    """Return all that DeepSpeed is told, None for a run without it.

    DeepSpeed's own bfloat16 mode would round the tables of offsets and the adapters, which are kept
    in float32, in every checkpoint. So with adapters the forward pass is cast instead, as DDP has
    it; whole models use its mode, which keeps float32 masters.

    Raises:
        ConfigError: If the JSON does not fit.
    """
    chosen = load_deepspeed(config)
    if chosen is None:
        return None
    half, whole = config.training.bf16, config.tuner.train_type == "full"
    cast: Mapping[str, object] = {
        "torch_autocast": {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],  # of gradients on their way: none
        }
    }
    return {
        **chosen,
        **(cast if half and not whole else {}),
        "bf16": {"enabled": half and whole},
        "fp16": {"enabled": False},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
    }


def place_deepspeed(*, use_cpu: bool) -> None:
    """Tell DeepSpeed where it runs; else it says on the standard output what it has guessed.

    accelerate imports it wherever it is installed, whether a run uses it or not.
    """
    if use_cpu or not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def silence_deepspeed() -> None:
    """Keep DeepSpeed's messages off the standard output, where our results are."""
    importlib.import_module("deepspeed")  # its logger is made by this
    for handler in logging.getLogger("DeepSpeed").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)


def check_fsdp(plugin: FullyShardedDataParallelPlugin | None) -> None:
    """Refuse the first version of FSDP, which flattens frozen and trained weights into one.

    Raises:
        InputError: If that was asked for.
    """
    if plugin is None:
        return
    if plugin.fsdp_version == 1:
        raise InputError(
            "FSDP version 1 is not supported; launch with fsdp_version: 2 "
            "(configs/accelerate/fsdp2.yaml)"
        )
    # The head hands on a view of the hidden states, which nobody changes in place.
    warnings.filterwarnings("ignore", r"FSDP2-wrapped module .* returned a view tensor")


def check_wrapped(kind: DistributedType, *, wrapped: bool) -> None:
    """Refuse to train several processes whose gradients nobody sums.

    An evaluation before the training marks the model as prepared, and accelerate then leaves out
    DistributedDataParallel without a word.

    Args:
        kind: How the run is spread.
        wrapped: Whether something stands around the model.

    Raises:
        CoordExpError: If that happened.
    """
    if kind in {DistributedType.MULTI_GPU, DistributedType.MULTI_CPU} and not wrapped:
        raise CoordExpError(
            "the gradients would not be summed over the ranks, because evaluate() came before "
            "train(); set eval_on_start, or evaluate with a trainer of its own"
        )


def gathered_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model that FSDP2 has spread, whole, on rank zero.

    Of a model with adapters these alone; every rank must call this.
    """
    # Not above: it takes a fifth of a second that only FSDP2 needs.
    from torch.distributed.checkpoint.state_dict import (  # noqa: PLC0415
        StateDictOptions,
        get_model_state_dict,
    )

    options = StateDictOptions(
        full_state_dict=True, cpu_offload=True, ignore_frozen_params=isinstance(model, PeftModel)
    )
    weights: dict[str, Any] = get_model_state_dict(model, options=options)
    return weights
