"""What the first step of a run does: its log line, its gradients, and an evaluation before it.

    torchrun --nproc_per_node 2 -m tests.training.first_step OUT CONFIG.yaml ...

writes `OUT/<name of the config>.pt` for each configuration, from rank 0.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from coordexp.config.load import dump_config, load_config
from coordexp.config.schema import Config
from coordexp.training.run.stage1 import build_trainer


@dataclass(frozen=True)
class FirstStep:
    """What a run logged of its first step, and the gradients before any clipping.

    `evaluation` is what an evaluation says of the weights before the step.
    """

    row: dict[str, float]
    gradients: dict[str, Tensor]
    evaluation: dict[str, float]


class GradientKeeper(TrainerCallback):
    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def on_pre_optimizer_step(self, *_: object, model: nn.Module, **__: object) -> None:
        self.gradients = {
            name.removeprefix("module."): parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }


def take_first_step(config: Config) -> FirstStep:
    keeper = GradientKeeper()
    trainer = build_trainer(config, callbacks=[keeper])
    trainer.args.eval_on_start = config.data.eval is not None
    trainer.train()
    rows = trainer.state.log_history
    return FirstStep(
        row=next(row for row in rows if "loss" in row),
        gradients=keeper.gradients,
        evaluation=next((row for row in rows if "eval_loss" in row), {}),
    )


def first_steps_on_two_ranks(configs: Sequence[Config], out: Path) -> list[FirstStep]:
    """Return the first step of each run on two ranks, all from one launch; `out` is written to."""
    files = []
    for number, config in enumerate(configs):
        files.append(out / f"{number}.yaml")
        files[-1].write_text(dump_config(config))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    worker = ["--nproc_per_node=2", "-m", "tests.training.first_step", str(out)]
    done = subprocess.run(
        [*launcher, *worker, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    kept = (torch.load(file.with_suffix(".pt"), weights_only=True) for file in files)
    return [FirstStep(**step) for step in kept]


def main(out: Path, *configs: Path) -> None:
    torch.set_num_threads(1)
    for path in configs:
        step = take_first_step(load_config(path))
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
            torch.save(vars(step), out / f"{path.stem}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        # Taken down while the interpreter ends, gloo's threads at times abort the process.
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
