import json
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

pytestmark = pytest.mark.slow
MakeConfig = Callable[..., Config]


def rows_of(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "train_log.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row or "eval_loss" in row]


def start(config: Config, ranks: int) -> Path:
    out = config.training.output_dir
    file = out.with_suffix(".yaml")
    file.write_text(dump_config(config))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [*(launcher if ranks > 1 else []), "-m", "coordexp", "train", "--config", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"checkpoint: {out}\n"
    assert "Warning" not in done.stderr
    return out


def test_two_ranks_train_as_one(make_config: MakeConfig, scenes: Path, tmp_path: Path) -> None:
    runs = []
    for ranks in (1, 2):
        config = make_config(
            tmp_path / f"ranks{ranks}",
            training={
                "max_steps": 2,
                "per_device_train_batch_size": 1,
                "effective_batch_size": 6,
                "eval_strategy": "steps",
                "eval_steps": 2,
                "per_device_eval_batch_size": 1,
            },
            data={"train": str(scenes), "eval": str(scenes)},
        )
        runs.append(start(config, ranks))
    alone, together = map(rows_of, runs)
    assert len(alone) == len(together) == 3
    for one, two in zip(alone, together, strict=True):
        timed = ("runtime", "per_second", "speed/")
        kept = {key for key in one if not any(word in key for word in timed)}
        assert {key: two[key] for key in kept} == pytest.approx(
            {key: one[key] for key in kept}, rel=2e-4
        )
    weights = [load_file(run / "adapter_model.safetensors") for run in runs]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=3e-4, rtol=1e-3)
