"""The launch line of FSDP2, which a CPU cannot take: accelerate gives DDP there."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from tests.training.test_two_ranks import rows_of

MakeConfig = Callable[..., Config]
FSDP2 = Path(__file__).parents[2] / "configs" / "accelerate" / "fsdp2.yaml"


@pytest.mark.gpu
def test_accelerate_launches_fsdp2_and_it_trains_as_one_process(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    count = torch.cuda.device_count()
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(FSDP2)]
    launchers = {"one": [], "all": [*launch, f"--num_processes={count}"]}
    for name, launcher in launchers.items():
        ranks = count if name == "all" else 1
        training = {"use_cpu": False, "max_steps": 2, "per_device_train_batch_size": 1}
        training |= {"gradient_accumulation_steps": count // ranks}
        file = tmp_path / f"{name}.yaml"
        file.write_text(dump_config(make_config(tmp_path / name, training=training)))
        done = subprocess.run(
            [sys.executable, *launcher, "-m", "coordexp", "train", "--config", str(file)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(ranks)))},
        )
        assert done.returncode == 0, done.stderr
    one, together = rows_of(tmp_path / "one"), rows_of(tmp_path / "all")
    assert [row["loss"] for row in together] == pytest.approx(
        [row["loss"] for row in one], rel=1e-3
    )
    expected = load_file(tmp_path / "one" / "adapter_model.safetensors")
    weights = load_file(tmp_path / "all" / "adapter_model.safetensors")
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name], tensor, atol=5e-3, rtol=1e-2)
