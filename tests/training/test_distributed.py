"""Two real ranks over gloo against one, on every engine.

The ranks of an engine are started once and train all its cases (`engine_worker.py`).
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.export.merge import merge_checkpoint
from coordexp.model.load import load_checkpoint
from coordexp.training.run.stage1 import train
from tests.training.test_two_ranks import rows_of

pytestmark = pytest.mark.long
MakeConfig = Callable[..., Config]

WORKER = Path(__file__).with_name("engine_worker.py")
ZERO2 = Path(__file__).parents[2] / "configs" / "deepspeed" / "zero2.json"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
# Its --cpu starts one process; with this option it is torchrun, whatever the device.
ACCELERATE = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
ACCELERATE += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
# Any free port: two workers of pytest start such runs at the same time.
ACCELERATE += ["--main_process_port=0"]

TRAINING = {
    # The six records are a step of four and one of two.
    "max_steps": 2,
    "per_device_train_batch_size": 1,
    "effective_batch_size": 4,
    "max_grad_norm": 0.5,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "per_device_eval_batch_size": 1,
    "save_steps": 1,
}


@dataclass(frozen=True)
class Case:
    """One run: which base, whether embedding and head share a table of offsets, on what engine."""

    tied_base: bool
    tie_head: bool
    engine: str = "one"
    again: bool = False
    bf16: bool = False

    @property
    def name(self) -> str:
        base = "tied" if self.tied_base else "untied"
        tables = "one_table" if self.tie_head else "two_tables"
        return f"{self.engine}_{base}_{tables}" + ("_bf16" if self.bf16 else "")


FSDP2 = [
    Case(tied_base=True, tie_head=True, engine="fsdp2"),
    Case(tied_base=True, tie_head=False, engine="fsdp2"),
    Case(tied_base=False, tie_head=True, engine="fsdp2"),
    Case(tied_base=False, tie_head=False, engine="fsdp2", again=True),
]
DDP = [Case(tied_base=False, tie_head=True, engine="ddp")]
DEEPSPEED = [
    Case(tied_base=True, tie_head=True, engine="zero2", again=True),
    Case(tied_base=False, tie_head=False, engine="zero2"),
]
HALF = Case(tied_base=True, tie_head=True, engine="zero2", bf16=True)


@dataclass(frozen=True)
class Forge:
    """Makes the configuration of a case, its base included."""

    out: Path
    bases: dict[bool, Path]
    scenes: Path
    make_config: MakeConfig

    def config(self, case: Case) -> Config:
        config = self.make_config(
            self.out / case.name,
            model={"path": str(self.bases[case.tied_base])},
            tuner={"use_dora": case.tied_base == case.tie_head},
            training={
                **TRAINING,
                "bf16": case.bf16,
                "save_strategy": "steps" if case.again else "no",
            },
            data={"eval": str(self.scenes)},
            custom={
                "coord_offset": {"enabled": True, "tie_head": case.tie_head, "embed_lr": 5e-3},
            },
        )
        return config.model_copy(update={"deepspeed": ZERO2 if case.engine == "zero2" else None})


@pytest.fixture(scope="module")
def forge(
    make_config: MakeConfig,
    tiny_expanded: Path,
    scenes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Forge:
    out = tmp_path_factory.mktemp("engines")
    untied = out / "untied_base"
    shutil.copytree(tiny_expanded, untied)
    weights = load_file(untied / "model.safetensors")
    weights["lm_head.weight"] = 1.5 * weights["model.language_model.embed_tokens.weight"]
    save_file(weights, untied / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((untied / "config.json").read_text())
    settings["tie_word_embeddings"] = settings["text_config"]["tie_word_embeddings"] = False
    (untied / "config.json").write_text(json.dumps(settings))
    return Forge(out, {True: tiny_expanded, False: untied}, scenes, make_config)


@pytest.fixture(scope="module")
def alone(forge: Forge) -> Callable[[Case], Path]:
    """Train a case on one rank, once, whatever its engine."""

    @cache
    def trained(tied_base: bool, tie_head: bool) -> Path:
        return train(forge.config(Case(tied_base, tie_head)), say=lambda _: None)

    return lambda case: trained(case.tied_base, case.tie_head)


def start_pair(forge: Forge, launcher: list[str], cases: list[Case]) -> str:
    listed = []
    for case in cases:
        file = forge.out / f"{case.name}.yaml"
        file.write_text(dump_config(forge.config(case)))
        listed.append({"config": str(file), "engine": case.engine, "again": case.again})
    file = forge.out / f"{cases[0].name}.cases.json"
    file.write_text(json.dumps(listed))
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-8000:]
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def torch_pair(forge: Forge) -> str:
    return start_pair(forge, ACCELERATE, [*DDP, *FSDP2])


@pytest.fixture(scope="module")
def deepspeed_pair(forge: Forge) -> str:
    return start_pair(forge, TORCHRUN, [*DEEPSPEED, HALF])


def seen_by(out: Path, rank: int) -> dict[str, Any]:
    seen: dict[str, Any] = json.loads(Path(f"{out}.rank{rank}.json").read_text())
    return seen


def learned_by(out: Path, rank: int) -> dict[str, Tensor]:
    learned: dict[str, Tensor] = torch.load(f"{out}.rank{rank}.pt", weights_only=True)
    return learned


def tables_in(path: Path) -> dict[str, Tensor]:
    weights = load_file(path / "adapter_model.safetensors")
    return {name: rows for name, rows in weights.items() if "coord_offset_adapter" in name}


def is_timeless(key: str) -> bool:
    return not any(part in key for part in ("runtime", "per_second", "speed/"))


def assert_as_one_rank(together: Path, one: Path, missing: tuple[str, ...] = ()) -> None:
    ours, theirs = rows_of(together), rows_of(one)
    assert len(ours) == len(theirs) == 3
    assert ours[0]["grad_norm"] > TRAINING["max_grad_norm"]  # it is clipped
    for row, expected in zip(ours, theirs, strict=True):
        kept = [key for key in expected if not key.startswith(missing) and is_timeless(key)]
        assert {key: row[key] for key in kept} == pytest.approx(
            {key: expected[key] for key in kept}, rel=5e-4
        )
    weights = load_file(together / "adapter_model.safetensors")
    expected_weights = load_file(one / "adapter_model.safetensors")
    assert weights.keys() == expected_weights.keys()
    for name, tensor in expected_weights.items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=1e-3)


def assert_ranks_agree(out: Path, case: Case) -> None:
    first, second = learned_by(out, 0), learned_by(out, 1)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name
    for rank in (0, 1):
        seen = seen_by(out, rank)
        assert seen["moved"] == []
        assert seen["frozen"] > 20
        assert seen.get("again", []) == []
    saved = tables_in(out)
    held = {name: rows for name, rows in first.items() if "coord_offset_adapter" in name}
    assert len(saved) == len(held) == (1 if case.tie_head else 2)
    for (_, rows), (_, ours) in zip(sorted(saved.items()), sorted(held.items()), strict=True):
        assert rows.dtype == torch.float32
        assert rows.abs().max() > 1e-3
        assert torch.equal(rows, ours)


@pytest.mark.parametrize("case", [*DDP, *FSDP2], ids=lambda case: case.name)
def test_two_ranks_of_torchs_engines_train_as_one(
    case: Case, forge: Forge, alone: Callable[[Case], Path], torch_pair: str
) -> None:
    assert "Warning" not in torch_pair
    out = forge.out / case.name
    assert_as_one_rank(out, alone(case))
    assert_ranks_agree(out, case)
    seen = seen_by(out, 0)
    assert bool(seen["sharded"]) == (case.engine == "fsdp2")
    if case.engine == "fsdp2":
        assert seen["plain"] == []


@pytest.mark.parametrize("case", DEEPSPEED, ids=lambda case: case.name)
@pytest.mark.usefixtures("deepspeed_pair")
def test_two_ranks_of_deepspeed_train_as_one(
    case: Case, forge: Forge, alone: Callable[[Case], Path]
) -> None:
    out = forge.out / case.name
    assert_as_one_rank(out, alone(case), missing=("grad_norm/", "offset_norm/"))
    assert_ranks_agree(out, case)
    assert seen_by(out, 0)["optimizer"] == "DeepSpeedZeroOptimizer"


@pytest.mark.usefixtures("deepspeed_pair")
def test_deepspeed_keeps_offsets_in_float32_beside_bfloat16(forge: Forge) -> None:
    out = forge.out / HALF.name
    assert_ranks_agree(out, HALF)
    assert all(math.isfinite(row["loss"]) for row in rows_of(out) if "loss" in row)
    (rows,) = tables_in(out).values()
    assert not torch.equal(rows, rows.bfloat16().float())


@pytest.mark.parametrize(
    ("case", "pair"),
    [(FSDP2[3], "torch_pair"), (DEEPSPEED[0], "deepspeed_pair")],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_the_ranks_saved_loads_and_merges(
    case: Case, pair: str, forge: Forge, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(pair)
    out = forge.out / case.name
    base = forge.bases[case.tied_base]
    loaded = load_checkpoint(base, out).state_dict()
    for name, tensor in learned_by(out, 0).items():
        assert torch.equal(loaded[name], tensor), name
    merge_checkpoint(out, out.with_suffix(".merged"), certify=False)
    assert (out.with_suffix(".merged") / "model.safetensors").is_file()
