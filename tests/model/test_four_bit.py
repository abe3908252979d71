"""What of four bits can be said without the library that makes them; the rest: tests/training."""

import importlib.util
import re
import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from coordexp.errors import InputError
from coordexp.families.towers import expert_names, linear_layer_pattern
from coordexp.model.four_bit import (
    FourBits,
    check_four_bits,
    four_bit_bytes,
    four_bit_fault,
    four_bit_layers,
    four_bit_options,
    other_layers,
    stored_size,
)
from tests.model.published import PUBLISHED

MIXTURES = [size for size, each in PUBLISHED.items() if expert_names(each.family.towers)]


@pytest.mark.parametrize("size", MIXTURES)
def test_a_mixture_is_refused_as_its_experts_would_stay_as_they_are(size: str) -> None:
    with pytest.raises(
        InputError, match=r"model\.quantization: the experts of a mixture .*gate_up"
    ):
        four_bit_options(FourBits(None, "cpu"), PUBLISHED[size].family.towers)


@pytest.mark.parametrize("size", [size for size in PUBLISHED if size not in MIXTURES])
def test_of_published_models_the_language_models_layers_are_quantised(size: str) -> None:
    published = PUBLISHED[size]
    towers = published.family.towers
    skipped = [other_layers(towers)]
    layers = {
        name: should_convert_module(name, skipped)
        for name, module in published.model().named_modules()
        if isinstance(module, nn.Linear)
    }
    every = re.compile(linear_layer_pattern(towers, None))
    inside = {name for name in layers if every.fullmatch(name) and ".layers." in name}
    assert {name for name, quantised in layers.items() if quantised} == inside
    assert not layers["lm_head"]
    assert not any(quantised for name, quantised in layers.items() if "visual" in name)


def test_without_the_library_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"model\.quantization: .*pip install '\.\[qlora\]'"):
        check_four_bits()
    assert list(four_bit_layers(nn.Linear(2, 2))) == []


def test_a_library_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert four_bit_fault().startswith("bitsandbytes cannot be loaded (ModuleNotFoundError")
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    assert four_bit_fault() == ""


def test_a_weight_takes_half_a_byte_and_a_little() -> None:
    assert 0.5 < four_bit_bytes(1_000_000) / 1_000_000 < 0.52
    assert stored_size(torch.zeros(3, 5, dtype=torch.bfloat16)) == 30
