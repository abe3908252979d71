import importlib
import importlib.util
from pathlib import Path

import pytest
import torch

from coordexp.errors import InputError
from coordexp.model.four_bit import FourBits
from coordexp.training.run import machine
from coordexp.training.run.machine import check_machine, flash_fault, four_bits_of
from tests.training.conftest import MakeConfig


@pytest.fixture(autouse=True)
def _asked_anew() -> None:
    flash_fault.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("key", ["bf16", "fp16"])
def test_half_precision_without_a_gpu_names_its_key(
    make_config: MakeConfig, tmp_path: Path, key: str
) -> None:
    config = make_config(tmp_path / "run", training={key: True, "use_cpu": False})
    with pytest.raises(InputError, match=rf"training\.{key}: .*there is no GPU here"):
        check_machine(config)


def test_bfloat16_on_the_cpu_is_fine_where_it_was_asked_for(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    check_machine(make_config(tmp_path / "run", training={"bf16": True, "use_cpu": True}))
    half = make_config(tmp_path / "run", training={"fp16": True, "use_cpu": True})
    with pytest.raises(InputError, match=r"training\.fp16: needs a GPU, and training\.use_cpu"):
        check_machine(half)


def test_a_gpu_without_bfloat16_is_told_of_float16(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla V100")
    monkeypatch.setattr(machine, "is_torch_bf16_gpu_available", lambda: False)
    config = make_config(tmp_path / "run", training={"bf16": True, "use_cpu": False})
    with pytest.raises(InputError, match=r"Tesla V100 does not .*fp16: true"):
        check_machine(config)


def test_four_bits_without_their_library_are_refused(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    config = make_config(tmp_path / "run", model={"quantization": "nf4"})
    with pytest.raises(InputError, match=r"model\.quantization: .* not installed.*'\.\[qlora\]'"):
        check_machine(config)
    check_machine(make_config(tmp_path / "run"))


@pytest.mark.parametrize(
    ("training", "compute"),
    [
        ({}, None),
        ({"bf16": True}, torch.bfloat16),
        ({"fp16": True}, torch.float16),
    ],
)
def test_in_four_bits_products_have_the_dtype_of_mixed_precision(
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: dict[str, object],
    compute: torch.dtype | None,
) -> None:
    config = make_config(tmp_path / "run", model={"quantization": "nf4"}, training=training)
    assert four_bits_of(config) == FourBits(compute, "cpu")
    assert four_bits_of(make_config(tmp_path / "run", training=training)) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    on_gpu = make_config(
        tmp_path / "run",
        model={"quantization": "nf4"},
        training={**training, "use_cpu": False},
    )
    assert four_bits_of(on_gpu) == FourBits(compute, "cuda:3")


def test_flash_attention_by_name_says_why_it_cannot_run(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    named = make_config(tmp_path / "run", model={"attn_implementation": "flash_attention_2"})
    with pytest.raises(InputError, match=r"model\.attn_implementation: .*needs a GPU; auto"):
        check_machine(named)


@pytest.mark.parametrize(
    ("capability", "installed", "works", "expected"),
    [
        ((9, 0), True, True, ""),
        ((9, 0), False, True, "is not installed"),
        ((7, 5), True, True, "has no kernels for a GPU"),
        ((9, 0), True, False, "cannot be loaded (OSError: undefined symbol)"),
    ],
)
def test_flash_attention_is_usable_where_it_can_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    installed: bool,
    works: bool,
    expected: str,
) -> None:
    def load(_: str) -> None:
        if not works:
            raise OSError("undefined symbol")

    monkeypatch.setattr(machine, "is_flash_attn_2_available", lambda: installed)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda: capability)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", load)
        found = flash_fault()
    assert expected in found
    assert bool(found) == bool(expected)
