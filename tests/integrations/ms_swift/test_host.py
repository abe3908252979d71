"""One YAML file on two hosts: the same figures, the same weights."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.export.merge import merge_checkpoint
from coordexp.integrations.ms_swift import host
from tests.integrations.conftest import MakeConfig

pytestmark = [pytest.mark.swift, pytest.mark.usefixtures("swift")]

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "tied, LoRA, compacted labels": {},
    "untied, DoRA, two tables": {
        "tuner": {"use_dora": True},
        "training": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1},
        "custom": {"coord_offset": {"enabled": True, "tie_head": False}},
    },
    "tied, DoRA, two tables": {
        "tuner": {"use_dora": True},
        "training": {"max_steps": 2},
        "custom": {"coord_offset": {"enabled": True, "tie_head": False}},
    },
    "untied, LoRA, one table": {"training": {"max_steps": 2}},
    "text baseline": {
        "training": {"max_steps": 2, "optimizer": "multimodal"},
        "custom": {
            "coord_tokens": {"enabled": False},
            "coord_soft_ce_w1": {"enabled": False},
            "coord_offset": {"enabled": False},
        },
    },
}
# A certificate takes longer than both runs.
CERTIFIED = ("tied, LoRA, compacted labels", "untied, DoRA, two tables")
# What ms-swift has words of its own for, or cannot know.
ELSEWHERE = ("grad_norm/", "lr/", "offset_norm/", "speed/", "train_", "eval_runtime", "eval_s")


def figures(directory: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (directory / "train_log.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in row.items() if not key.startswith(ELSEWHERE)}
        for row in rows
        if "train_loss" not in row
    ]


RUN_ALL = """\
import sys
from pathlib import Path
from coordexp.config.load import load_config
from coordexp.training.run.stage1 import train
for path in sys.argv[1:]:
    train(load_config(Path(path)))
"""
OfCase = Callable[[str, Path, str], Config]


@pytest.fixture(scope="module")
def config_of(make_config: MakeConfig, untied: Path) -> OfCase:
    """Make the configuration of a case."""

    def make(name: str, out: Path, host: str) -> Config:
        model = {"model": {"path": str(untied)}} if name.startswith("untied") else {}
        return make_config(out, host, **CASES[name], **model)

    return make


@pytest.fixture(scope="module")
def plain_runs(config_of: OfCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every case on our own host, in a process that ms-swift has not patched."""
    out = tmp_path_factory.mktemp("plain")
    files = [out / f"{name}.yaml" for name in CASES]
    for name, file in zip(CASES, files, strict=True):
        file.write_text(dump_config(config_of(name, out / name, "plain")))
    subprocess.run([sys.executable, "-c", RUN_ALL, *map(str, files)], check=True)
    return out


@pytest.mark.parametrize("name", CASES)
def test_both_hosts_train_the_same(
    name: str, config_of: OfCase, plain_runs: Path, tmp_path: Path
) -> None:
    ours = plain_runs / name
    theirs = host.train(config_of(name, tmp_path / "swift", "ms_swift"))

    for expected, got in zip(figures(ours), figures(theirs), strict=True):
        # ms-swift logs the rate of the step to come.
        keys = expected.keys() - {"learning_rate"}
        assert {key: got[key] for key in keys} == pytest.approx(
            {key: expected[key] for key in keys}, rel=1e-5
        )
    saved, known = (load_file(run / "adapter_model.safetensors") for run in (theirs, ours))
    assert saved.keys() == known.keys()
    for key, tensor in known.items():
        torch.testing.assert_close(saved[key], tensor, rtol=1e-4, atol=1e-6)

    if name in CERTIFIED:
        report = merge_checkpoint(theirs, tmp_path / "merged")
        assert report.certificate is not None


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    steps = {"training": {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}}
    config = make_config(tmp_path / "run", **steps)
    host.train(config)
    finished = load_file(tmp_path / "run" / "adapter_model.safetensors")
    told: list[str] = []
    host.train(config, say=told.append)
    assert "finished" in told[0]

    (tmp_path / "run" / "coordexp.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    host.train(config, say=told.append)
    assert "checkpoint-2" in told[1]
    again = load_file(tmp_path / "run" / "adapter_model.safetensors")
    for key, tensor in finished.items():
        torch.testing.assert_close(again[key], tensor, rtol=1e-4, atol=1e-6)

    other = make_config(tmp_path / "run", training={"max_steps": 5})
    with pytest.raises(InputError, match="another configuration"):
        host.train(other)
