"""One of several ranks that train runs on an engine, and write down what they saw of them.

    torchrun --nproc_per_node 2 tests/training/engine_worker.py CASES.json

CASES.json lists `{"config": FILE, "engine": ddp | zero2 | fsdp2, "again": bool}`. For each case the
run is trained; with `again` it is then taken back to its last checkpoint but one and trained from
there once more. Every rank writes `<output_dir>.rank<N>.json` and `<output_dir>.rank<N>.pt`.

accelerate silently gives DistributedDataParallel in place of FSDP on a CPU. So for `fsdp2` its
accelerator is told that FSDP is there; from then on everything is accelerate's own.
"""

import hashlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate import DistributedType
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

import coordexp.training.run.stage1
from coordexp.config.load import load_config
from coordexp.config.schema import Config
from coordexp.training.keep.checkpoint import find_checkpoints
from coordexp.training.loop.trainer import CoordTrainer


class ShardingTrainer(CoordTrainer):
    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            cpu_ram_efficient_loading=False,
        )
        self.is_fsdp_enabled = True


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def digest(tensor: Tensor) -> str:
    flat = whole(tensor.detach()).cpu().clone().flatten().view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def take_apart(model: nn.Module) -> None:
    """Undo what the last evaluation has gathered."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


class Witness(TrainerCallback):
    """Looks at the model before it is wrapped, and at its first and last step."""

    def __init__(self) -> None:
        self.frozen: dict[str, str] = {}
        self.seen: dict[str, Any] = {}
        self.learned: dict[str, Tensor] = {}
        self.wrapped = ""

    def on_train_begin(self, *_: object, model: nn.Module, **__: object) -> None:
        self.frozen = {
            name: digest(parameter)
            for name, parameter in model.named_parameters()
            if not parameter.requires_grad
        }

    def on_train_end(
        self, *_: object, model: nn.Module, optimizer: AcceleratedOptimizer, **__: object
    ) -> None:
        take_apart(model)
        parameters = dict(model.named_parameters())
        self.learned = {
            name: whole(parameter.detach()).cpu().clone()
            for name, parameter in parameters.items()
            if parameter.requires_grad
        }
        self.seen = {
            "moved": [
                name for name, before in self.frozen.items() if digest(parameters[name]) != before
            ],
            "frozen": len(self.frozen),
            "plain": [
                name for name, tensor in parameters.items() if not isinstance(tensor, DTensor)
            ],
            "sharded": [name for name, tensor in parameters.items() if isinstance(tensor, DTensor)],
            "optimizer": type(optimizer.optimizer).__name__,
        }


def spare_the_compiler() -> None:
    """On a CPU DeepSpeed would compile a kernel that only its inference uses."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    ops: Any = importlib.import_module("deepspeed.ops")
    ops.__compatible_ops__["deepspeed_shm_comm"] = False


def train(config: Config, engine: str) -> Witness:
    AcceleratorState._reset_state()
    if engine == "zero2":
        spare_the_compiler()
    witness = Witness()
    kind = ShardingTrainer if engine == "fsdp2" else CoordTrainer

    def observed(*, callbacks: list[TrainerCallback], **others: object) -> CoordTrainer:
        return kind(callbacks=[*callbacks, witness], **others)

    with patch.object(coordexp.training.run.stage1, "CoordTrainer", observed):
        coordexp.training.run.stage1.train(config)
    return witness


def main(cases: Path) -> None:
    torch.set_num_threads(1)
    for case in json.loads(cases.read_text()):
        config = load_config(Path(case["config"]))
        out = config.training.output_dir
        witness = train(config, case["engine"])
        rank = torch.distributed.get_rank()
        seen = witness.seen
        if case["again"]:
            torch.distributed.barrier()
            if rank == 0:
                for name in ("coordexp.json", "adapter_model.safetensors"):
                    (out / name).unlink()
                shutil.rmtree(find_checkpoints(out)[-1])
            torch.distributed.barrier()
            again = train(config, case["engine"])
            seen["again"] = [
                name
                for name, tensor in again.learned.items()
                if not torch.equal(tensor, witness.learned[name])
            ]
        torch.save(witness.learned, f"{out}.rank{rank}.pt")
        Path(f"{out}.rank{rank}.json").write_text(json.dumps(seen))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
