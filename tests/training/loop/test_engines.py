import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import DistributedType
from accelerate.utils import FullyShardedDataParallelPlugin

from coordexp.config.schema import Config
from coordexp.errors import ConfigError, CoordExpError, InputError
from coordexp.training.loop.engines import (
    check_fsdp,
    check_launch,
    check_wrapped,
    deepspeed_settings,
)
from coordexp.training.run.stage1 import build_trainer

MakeConfig = Callable[..., Config]
ZERO2 = Path(__file__).parents[3] / "configs" / "deepspeed" / "zero2.json"


@pytest.fixture
def with_deepspeed(make_config: MakeConfig, tmp_path: Path) -> Callable[..., Config]:
    def make(path: Path = ZERO2, **changes: dict[str, Any]) -> Config:
        return make_config(tmp_path / "run", **changes).model_copy(update={"deepspeed": path})

    return make


def test_zero_3_is_refused_before_anything_is_loaded(
    with_deepspeed: Callable[..., Config], tmp_path: Path
) -> None:
    path = tmp_path / "zero3.json"
    path.write_text('{"zero_optimization": {"stage": 3}}')
    nothing_there = {"path": str(tmp_path / "no_model")}
    with pytest.raises(ConfigError, match=r"zero3\.json: ZeRO-3 is not supported"):
        build_trainer(with_deepspeed(path, model=nothing_there), callbacks=[])


@pytest.mark.parametrize(
    "variable", ["ACCELERATE_DEEPSPEED_ZERO_STAGE", "ACCELERATE_DEEPSPEED_CONFIG_FILE"]
)
def test_deepspeed_is_the_configurations_choice_and_not_the_launchers(
    variable: str, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "3")
    with pytest.raises(InputError, match=r"deepspeed: configs/deepspeed/zero2\.json"):
        check_launch(make_config(tmp_path))


def test_deepspeed_needs_a_launcher_and_to_be_installed(
    with_deepspeed: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(InputError, match="torchrun --nproc_per_node GPUS -m coordexp train"):
        check_launch(with_deepspeed())
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_launch(with_deepspeed())
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install '\.\[deepspeed\]'"):
        check_launch(with_deepspeed())


def test_adapters_are_cast_on_the_way_and_whole_models_by_deepspeed(
    make_config: MakeConfig, with_deepspeed: Callable[..., Config], tmp_path: Path
) -> None:
    assert deepspeed_settings(make_config(tmp_path)) is None
    plain = deepspeed_settings(with_deepspeed()) or {}
    assert plain["bf16"] == plain["fp16"] == {"enabled": False}
    assert "torch_autocast" not in plain
    assert plain["gradient_clipping"] == plain["gradient_accumulation_steps"] == "auto"
    half = deepspeed_settings(with_deepspeed(training={"bf16": True})) or {}
    assert half["bf16"] == {"enabled": False}
    assert half["torch_autocast"]["dtype"] == "bfloat16"  # type: ignore[index]
    whole = deepspeed_settings(
        with_deepspeed(training={"bf16": True}, tuner={"train_type": "full"})
    )
    assert (whole or {})["bf16"] == {"enabled": True}


def test_a_base_in_four_bits_goes_without_fsdp(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_launch(make_config(tmp_path))
    with pytest.raises(InputError, match=r"model\.quantization: it goes without FSDP"):
        check_launch(make_config(tmp_path, model={"quantization": "nf4"}))


def test_only_the_second_fsdp_is_taken() -> None:
    check_fsdp(None)
    check_fsdp(FullyShardedDataParallelPlugin(fsdp_version=2))
    with pytest.raises(InputError, match="fsdp_version: 2"):
        check_fsdp(FullyShardedDataParallelPlugin(fsdp_version=1))


def test_a_model_that_does_not_sum_its_gradients_is_refused() -> None:
    check_wrapped(DistributedType.NO, wrapped=False)  # one rank has nothing to sum
    check_wrapped(DistributedType.MULTI_CPU, wrapped=True)
    for kind in (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU):
        with pytest.raises(CoordExpError, match=r"evaluate\(\) came before train\(\)"):
            check_wrapped(kind, wrapped=False)
