"""Compare what `coordexp plan` counts with the memory that the same step takes on the CPU.

    python benchmarks/plan.py            all cases; some minutes of one core, 8 GB
    python benchmarks/plan.py --quick    the tiny model alone: does it run?

A process for each case builds the run's trainer, takes a step that moves nothing, so that AdamW has
its numbers, and a pass over its first batch, and notes the most resident memory of that pass
(VmHWM) above the level before the model was loaded. `plan` is told dtype, pack and what the batch
was made of, and sees `config.json` alone. Differences between two packs of a model say how well
activations are counted, apart from everything that is there anyway. Results go to
`results/plan-<machine>.json`.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from results import read_results, results_path, write_results
from training import machine_name


@dataclass(frozen=True)
class Case:
    """What is measured; the names are those of `training.Case`.

    Args:
        model: `tiny` or `real`.
        pack: Tokens.
        kind: `memory` checkpoints activations, `plain` does not.
        dtype: Of weights and computation.
    """

    model: str
    pack: int
    kind: str
    dtype: str = "float32"

    def name(self) -> str:
        """Return what tells cases apart."""
        return f"{self.model} {self.kind} {self.pack}"


CASES = [
    *(Case("tiny", pack, kind) for kind in ("plain", "memory") for pack in (1024, 2048)),
    *(Case("real", pack, "plain") for pack in (1024, 2048)),
    *(Case("real", pack, "memory") for pack in (1024, 2048)),
]


def main() -> None:
    """Run all cases, print the figures, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the tiny model alone, nothing kept")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with TEXT in their name")
    parser.add_argument("--scratch", type=Path, help="folder for models and records, kept")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        task, case, scratch = arguments.worker
        figures = TASKS[task](Case(**json.loads(case)), Path(scratch))
        print("\n" + json.dumps(figures), flush=True)
        return
    cases = [case for case in CASES if case.model == "tiny" or not arguments.quick]
    cases = [case for case in cases if arguments.only in case.name()]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or Path(temporary)
        scratch.mkdir(exist_ok=True)
        for case in cases:
            row = measured(case, scratch)
            print(json.dumps(row, indent=1), flush=True)
            if not arguments.quick:
                keep(row)


def keep(row: dict[str, Any]) -> None:
    """Write a case into the file of this machine, in place of an earlier one of its name."""
    path = results_path("plan")
    known = {json.dumps(each["case"]): each for each in read_results(path).get("rows", [])}
    known[json.dumps(row["case"])] = row
    ordered = [known[key] for case in CASES if (key := json.dumps(asdict(case))) in known]
    found = {"machine": machine_name(), "rows": ordered, "differences": differences(ordered)}
    write_results(path, found)


def measured(case: Case, scratch: Path) -> dict[str, Any]:
    """Return a case with both figures, in MB, and their ratio."""
    in_a_process("inputs", case, scratch)
    real = in_a_process("step", case, scratch)
    planned = in_a_process("plan", case, scratch)
    ratio = planned["planned MB"] / real["measured MB"]
    return {"case": asdict(case), **real, **planned, "planned / measured": ratio}


def differences(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by how much the larger of two packs takes more, planned and measured."""
    found = []
    for small, large in pairwise(rows):
        if any(small["case"][key] != large["case"][key] for key in ("model", "kind", "dtype")):
            continue
        planned, real = (large[key] - small[key] for key in ("planned MB", "measured MB"))
        packs = [small["tokens"], large["tokens"]]
        case = {key: small["case"][key] for key in ("model", "kind")}
        ratio = planned / real
        figures = {"planned MB": planned, "measured MB": real, "planned / measured": ratio}
        found.append({**case, "packs": packs, **figures})
    return found


def in_a_process(task: str, case: Case, scratch: Path) -> dict[str, Any]:
    """Return what a fresh process finds out."""
    command = [sys.executable, __file__, "--worker", task, json.dumps(asdict(case)), str(scratch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # Freed tensors go back at once: glibc would keep gigabytes of small pieces.
    environment["MALLOC_MMAP_THRESHOLD_"] = "1000000"
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write(case: Case, scratch: Path) -> dict[str, Any]:
    """Write models and records."""
    from training_inputs import write_inputs  # noqa: PLC0415

    write_inputs(scratch, case.model)
    return {}


def take_steps(case: Case, scratch: Path) -> dict[str, Any]:
    """Return what a pass takes beside AdamW's numbers; what its batch was made of is kept."""
    import torch  # noqa: PLC0415
    from training_ours import first_batches, run_config  # noqa: PLC0415

    from coordexp.config.load import load_config  # noqa: PLC0415
    from coordexp.inspection.doctor.first_pass import prepare, taught  # noqa: PLC0415
    from coordexp.training.run.build import build_encoder, build_style  # noqa: PLC0415
    from coordexp.training.run.stage1 import build_trainer  # noqa: PLC0415

    config = load_config(run_config(case, scratch, steps=2))
    build_encoder(config.model.path, build_style(config))  # what it imports is no part of it
    gc.collect()
    before = status_mb("VmRSS")
    trainer = build_trainer(config, callbacks=[])
    (inputs,) = first_batches(trainer, 1)
    prepare(trainer)
    optimizer = trainer.create_optimizer()
    for group in optimizer.param_groups:  # a first step without a pass: AdamW has its numbers
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the most memory counts from here, not loading
    taught(trainer, inputs).backward()
    most = status_mb("VmHWM") - before
    (scratch / f"{case.name()}.json").write_text(json.dumps(made_of(inputs)))
    return {"tokens": inputs["labels"].numel(), "measured MB": most}


def made_of(inputs: dict[str, Any]) -> dict[str, int]:
    """Return what an example of a pack is made of, on average."""
    tokens, learned = inputs["labels"].numel(), int((inputs["labels"] >= 0).sum())
    grids = inputs["image_grid_thw"]
    count, (_, high, wide) = len(grids), grids[0].tolist()
    picture = high * wide // 4
    answer = learned // count
    return {
        "high": high // 2,
        "wide": wide // 2,
        "prompt": tokens // count - picture - answer,
        "answer": answer,
        "tokens": tokens,
    }


def plan(case: Case, scratch: Path) -> dict[str, Any]:
    """Return what is planned for the same step."""
    from training_ours import run_config  # noqa: PLC0415

    from coordexp.config.load import load_config  # noqa: PLC0415
    from coordexp.inspection.plan.costs import plan_costs  # noqa: PLC0415
    from coordexp.inspection.plan.one_pass import ExampleShape  # noqa: PLC0415

    parts = json.loads((scratch / f"{case.name()}.json").read_text())
    tokens = parts.pop("tokens")
    config = load_config(run_config(case, scratch, steps=2))
    training = config.training.model_copy(update={"global_max_length": tokens})
    config = config.model_copy(update={"training": training})
    found = plan_costs(config, gpus=1, room=None, on_cpu=True, example=ExampleShape(**parts))
    return {
        "planned MB": found.total / 2**20,
        "parts MB": {cost.name: cost.size / 2**20 for cost in found.memory},
        "made of": parts,
    }


def status_mb(name: str) -> float:
    """Return a figure of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


TASKS = {"inputs": write, "step": take_steps, "plan": plan}

if __name__ == "__main__":
    main()
