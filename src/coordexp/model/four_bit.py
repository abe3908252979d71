"""The frozen linear layers of the language model in four bits (QLoRA), through bitsandbytes.

A layer's weights become 4-bit steps of the normal distribution (NF4) and a scale for every 64 of
them, which is kept in 8 bits; each product takes them out again, in the dtype that is computed in.
They cannot learn: adapters beside them do. Everything else stays as it is stored. The vocabulary,
because offsets and merging need its exact rows; the vision tower and the aligner, because they are
a tenth of the weights and what is read off a picture is measured in single pixels.

On the CPU an evaluation would pack a layer for another kernel, in bfloat16, and leave it packed,
and no gradient passes through that one. It is turned off here.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from coordexp.errors import InputError, install_advice
from coordexp.families.towers import Towers, expert_names, linear_layer_pattern

Quantization = Literal["nf4"]

_SCALES = 256
"""So many scales of 8 bits share one of 32."""
_BLOCK = 64
_PACKAGE = "bitsandbytes"


@dataclass(frozen=True, slots=True)
class FourBits:
    """How a base is loaded in four bits.

    Args:
        compute: The dtype of products; None for that of all other weights.
        device: Where it is loaded to, and stays.
    """

    compute: torch.dtype | None
    device: str


def four_bit_fault() -> str:
    """Return why nothing can be quantised here, "" if it can."""
    if importlib.util.find_spec(_PACKAGE) is None:
        return f"{_PACKAGE} is not installed; {install_advice('qlora')}"
    try:
        _bitsandbytes()
    except Exception as error:  # noqa: BLE001 - whatever a broken library raises
        return f"{_PACKAGE} cannot be loaded ({type(error).__name__}: {error})"
    return ""


def check_four_bits() -> None:
    """Refuse where nothing can be quantised.

    Raises:
        InputError: See `four_bit_fault`.
    """
    if fault := four_bit_fault():
        raise InputError(f"model.quantization: {fault}")


def four_bit_options(bits: FourBits, towers: Towers) -> dict[str, Any]:
    """Return what transformers' `from_pretrained` is told.

    Args:
        bits: How.
        towers: Of the family.

    Raises:
        InputError: See `check_four_bits` and `four_bit_pattern`.
    """
    others = other_layers(towers)
    check_four_bits()
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=[others],
    )
    return {"quantization_config": settings, "device_map": {"": bits.device}}


def four_bit_pattern(towers: Towers) -> str:
    """Return the regular expression of the layers that are quantised.

    Raises:
        InputError: For a mixture of experts, nearly all of whose weights are in stacks and would
            stay as they are.
    """
    if stacks := expert_names(towers):
        raise InputError(
            f"model.quantization: the experts of a mixture ({', '.join(stacks)}) are no linear "
            "layers and cannot be held in four bits; leave it out"
        )
    language = tuple(each for each in towers if each.tower == "language")
    return linear_layer_pattern(language, None)


def other_layers(towers: Towers) -> str:
    """Return the regular expression that matches, at its beginning, every other layer's name."""
    return f"(?!(?:{four_bit_pattern(towers)})$)"


def settle_four_bits(model: PreTrainedModel, bits: FourBits) -> None:
    """Have every quantised layer of a loaded model compute alike, in evaluation as in training."""
    for layer in four_bit_layers(model):
        layer.support_avx512bf16_for_cpu = False
        layer.compute_dtype, layer.compute_type_is_set = bits.compute or model.dtype, True


def four_bit_layers(model: nn.Module) -> Iterator[Any]:
    """Yield the quantised layers of a model, which are of bitsandbytes' own class."""
    if importlib.util.find_spec(_PACKAGE) is not None:
        kind = _bitsandbytes().nn.Linear4bit
        yield from (module for module in model.modules() if isinstance(module, kind))


def stored_size(parameter: Tensor) -> int:
    """Return the bytes of a parameter, of one in four bits with its scales."""
    state: Any = getattr(parameter, "quant_state", None)  # bitsandbytes'
    scales: tuple[Tensor, ...] = () if state is None else (state.absmax, state.state2.absmax)
    return sum(each.numel() * each.element_size() for each in (parameter, *scales))


def four_bit_bytes(numbers: int) -> float:
    """Return what so many weights take: half a byte each, and their scales.

    Example:
        >>> round(four_bit_bytes(1 << 20) / (1 << 20), 3)
        0.516
    """
    return numbers / 2 + numbers / _BLOCK + 4 * numbers / (_BLOCK * _SCALES)


def _bitsandbytes() -> ModuleType:
    return importlib.import_module(_PACKAGE)
