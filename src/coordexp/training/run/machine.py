"""What the machine under a run can compute: whether it has a GPU, which precisions, which kernels.

transformers and accelerate find out late and in their own words. Here it is asked before anything
is loaded, and told by the keys of the configuration.
"""

import importlib
from functools import cache

import torch
from transformers.utils.import_utils import is_flash_attn_2_available, is_torch_bf16_gpu_available

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.model.four_bit import FourBits, four_bit_fault
from coordexp.model.load import Attention
from coordexp.processes import local_rank

# flash-attn 2 has kernels for NVIDIA's Ampere and what came after it.
_FLASH_CAPABILITY = (8, 0)


def has_gpu(config: Config) -> bool:
    """Return whether a run computes on a GPU."""
    return torch.cuda.is_available() and not config.training.use_cpu


def check_machine(config: Config) -> None:
    """Refuse a configuration that this machine cannot compute.

    Raises:
        InputError: With every key that it cannot follow.
    """
    asked = (precision_fault(config), attention_fault(config), quantization_fault(config))
    if faults := [fault for fault in asked if fault]:
        raise InputError("; ".join(faults))


def precision_fault(config: Config) -> str:
    """Return why the machine does not compute in the precision that is asked for, "" if it does."""
    training = config.training
    if training.bf16 and not training.use_cpu and not is_torch_bf16_gpu_available():
        if torch.cuda.is_available():
            return (
                f"training.bf16: {torch.cuda.get_device_name()} does not compute in bfloat16, "
                "NVIDIA's GPUs from Ampere on do; set training.bf16: false and fp16: true"
            )
        return (
            "training.bf16: there is no GPU here; train where one is, install the torch that fits "
            "yours, or set training.use_cpu: true to stay on the CPU, which is slow"
        )
    if training.fp16 and not has_gpu(config):
        where = "training.use_cpu is true" if training.use_cpu else "there is no GPU here"
        return f"training.fp16: needs a GPU, and {where}; use bf16, or neither"
    return ""


def attention_fault(config: Config) -> str:
    """Return why the attention that is asked for by name cannot run here, "" if it can."""
    if config.model.attn_implementation != "flash_attention_2":
        return ""
    why = flash_fault() if has_gpu(config) else "it needs a GPU"
    if not why and config.model.dtype == "float32" and not _computes_in_half(config):
        why = "it computes in half precision alone (training.bf16, or model.dtype)"
    if not why:
        return ""
    return f"model.attn_implementation: flash_attention_2 cannot run: {why}; auto takes what can"


def quantization_fault(config: Config) -> str:
    """Return why the base cannot be held in four bits here, "" if it can or need not."""
    fault = four_bit_fault() if config.model.quantization is not None else ""
    return f"model.quantization: {fault}" if fault else ""


def four_bits_of(config: Config) -> FourBits | None:
    """Return how a run holds its base in four bits, None where it does not."""
    if config.model.quantization is None:
        return None
    half = {config.training.bf16: torch.bfloat16, config.training.fp16: torch.float16}
    device = f"cuda:{local_rank()}" if has_gpu(config) else "cpu"
    return FourBits(compute=half.get(True), device=device)


def attention_of(config: Config) -> Attention:
    """Return the attention kernels of a run: for packs flash attention, wherever it can run.

    It computes each example of a pack alone, where SDPA computes the masked blocks too.
    """
    if config.model.attn_implementation != "auto":
        return config.model.attn_implementation
    wanted = config.training.packing and _computes_in_half(config)
    return "flash_attention_2" if wanted and has_gpu(config) and not flash_fault() else "sdpa"


def _computes_in_half(config: Config) -> bool:
    training = config.training
    return training.bf16 or training.fp16 or config.model.dtype in ("bfloat16", "float16")


@cache
def flash_fault() -> str:
    """Return why flash-attn cannot run on the GPU that is here, "" if it can."""
    if not is_flash_attn_2_available():
        return "flash-attn 2 is not installed"
    if torch.cuda.get_device_capability() < _FLASH_CAPABILITY:
        return f"flash-attn has no kernels for {torch.cuda.get_device_name()}"
    try:
        # transformers looks at its version alone; built for another torch, it cannot be loaded.
        importlib.import_module("flash_attn")
    except Exception as error:  # noqa: BLE001 - whatever a broken library raises
        return f"flash-attn cannot be loaded ({type(error).__name__}: {error})"
    return ""
