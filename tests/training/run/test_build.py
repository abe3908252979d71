from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.training.run.arguments import build_arguments
from coordexp.training.run.build import build_objective
from coordexp.training.run.machine import attention_of
from tests.training.conftest import MakeConfig


def test_the_triton_backend_without_a_gpu_is_refused(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", training={"objective_backend": "triton"})
    with pytest.raises(InputError, match="triton needs a CUDA device; use auto"):
        build_objective(config, None)


@pytest.mark.parametrize(
    ("training", "dtype", "installed", "expected"),
    [
        ({"packing": True}, "bfloat16", True, "flash_attention_2"),
        ({"packing": True, "bf16": True}, "float32", True, "flash_attention_2"),
        ({"packing": True}, "bfloat16", False, "sdpa"),
        ({"packing": True}, "float32", True, "sdpa"),
        ({"packing": True, "use_cpu": True}, "bfloat16", True, "sdpa"),
        ({"packing": False}, "bfloat16", True, "sdpa"),
    ],
)
def test_packs_take_flash_attention_where_it_can_run(
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training: dict[str, object],
    dtype: str,
    installed: bool,
    expected: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    fault = "" if installed else "flash-attn 2 is not installed"
    monkeypatch.setattr("coordexp.training.run.machine.flash_fault", lambda: fault)
    sizes = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}
    block = {"global_max_length": 99, "use_cpu": False, **sizes, **training}
    config = make_config(tmp_path, training=block, model={"dtype": dtype})
    assert attention_of(config) == expected
    asked = make_config(tmp_path, model={"attn_implementation": "eager"})
    assert attention_of(asked) == "eager"


def test_transformers_gets_what_it_knows(make_config: MakeConfig, tmp_path: Path) -> None:
    changes = {"effective_batch_size": 6, "weight_decay": 0.5, "adam_beta2": 0.95, "vit_lr": 0.1}
    arguments = build_arguments(make_config(tmp_path, training=changes), world_size=2)
    assert arguments.gradient_accumulation_steps == 1
    assert arguments.per_device_train_batch_size == 3
    assert (arguments.weight_decay, arguments.adam_beta2) == (0.5, 0.95)
    assert arguments.learning_rate == 1e-3
    assert arguments.max_steps == 1
