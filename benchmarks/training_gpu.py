"""Measure a training step of a 2B model on a GPU: tokens a second, share of its peak, memory.

    python benchmarks/training_gpu.py            Qwen3-VL-2B, random weights, packs of 8,192 tokens
    python benchmarks/training_gpu.py --quick    the tiny model, on a CPU where there is no GPU

DoRA of rank 16 on all towers, coord offsets, gradient checkpointing, bfloat16, pictures read and
encoded by processes beside. A process for each way to compute the loss builds the run's trainer and
lets it train; a step is everything from the end of one to the end of the next, wall-clock, the GPU
waited for; the median of those after the first two counts. Memory is the most that torch's
allocator has handed out since the model was loaded, and stands beside what `coordexp plan` counts
for packs made of the same. The share of the peak is the plan's operations over those of the data
sheet. Results go to `results/training-gpu-<machine>.json`, a case at a time.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results import processor, read_results, results_path, write_results

COUNTED_FROM = 2
"""Steps before it compile kernels and fill the allocator."""


@dataclass(frozen=True)
class Case:
    """What is measured; the names are those of `training.Case`.

    Args:
        model: `tiny` or `2B`.
        backend: Of the loss.
        pack: Tokens.
        steps: Of the run.
        dtype: Of weights and computation.
        attention: `sdpa` or `flash_attention_2`.
        kind: `memory` checkpoints activations.
    """

    model: str
    backend: str
    pack: int
    steps: int
    dtype: str = "bfloat16"
    attention: str = "sdpa"
    kind: str = "memory"


CASES = [
    *(Case("2B", backend, 8192, 8) for backend in ("fused", "triton", "reference")),
    Case("2B", "fused", 8192, 8, attention="flash_attention_2"),
]
QUICK = [Case("tiny", backend, 1024, 4, "float32") for backend in ("fused", "reference")]


def main() -> None:
    """Measure all cases, print and write each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    parser.add_argument("--scratch", type=Path, help="folder for models and records, kept")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        task, case, scratch = arguments.worker
        found = TASKS[task](Case(**json.loads(case)), Path(scratch))
        print("\n" + json.dumps(found), flush=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or Path(temporary)
        scratch.mkdir(exist_ok=True)
        cases = QUICK if arguments.quick else CASES
        in_a_process("inputs", cases[0], scratch)
        rows = []
        for case in cases:
            rows.append({"case": asdict(case), **in_a_process("train", case, scratch)})
            told(rows[-1], kept=not arguments.quick)
        # Last, for it takes a CPU as long as all of them take a GPU, and once for all: operations
        # are the same, and memory is planned for the loss that a run takes by itself.
        planned = in_a_process("plan", cases[0], scratch)
        for row in rows:
            told(row | beside_plan(row, planned), kept=not arguments.quick)


def told(row: dict[str, Any], *, kept: bool) -> None:
    """Print a row, and write it into its machine's file in place of an earlier one of its case."""
    print(json.dumps(row, indent=1), flush=True)
    if not kept:
        return
    path = results_path("training-gpu", row.get("machine"))
    rows = [each for each in read_results(path).get("rows", []) if each["case"] != row["case"]]
    about = {"processor": processor(), "python": platform.python_version()}
    write_results(path, {"machine": about, "rows": [*rows, row]})


def beside_plan(row: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan says of a row: its share of the GPU's peak, and the memory planned."""
    if "operations" not in planned or "seconds a step" not in row:
        return {}
    found = {"planned GB": planned["GB"], "operations": planned["operations"]}
    if "peak GB" in row:
        found["planned / measured memory"] = planned["GB"] / row["peak GB"]
    if (peak := peak_of(row.get("machine", ""))) is not None:
        found["share of peak operations"] = planned["operations"] / row["seconds a step"] / peak
    return found


def in_a_process(task: str, case: Case, scratch: Path) -> dict[str, Any]:
    """Return what a fresh process finds out, or how it ended."""
    command = [sys.executable, __file__, "--worker", task, json.dumps(asdict(case)), str(scratch)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    if done.returncode != 0:
        return {"failed": f"{task}: exit status {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write(case: Case, scratch: Path) -> dict[str, Any]:
    """Write models and records."""
    from training_inputs import write_inputs  # noqa: PLC0415

    write_inputs(scratch, case.model)
    return {}


def train(case: Case, scratch: Path) -> dict[str, Any]:
    """Return what steps take, and what is planned for them."""
    import torch  # noqa: PLC0415
    from plan import made_of  # noqa: PLC0415
    from training_ours import first_batches, run_config  # noqa: PLC0415
    from transformers import TrainerCallback  # noqa: PLC0415

    from coordexp.config.load import load_config  # noqa: PLC0415
    from coordexp.training.run.stage1 import build_trainer  # noqa: PLC0415

    on_gpu = torch.cuda.is_available()
    changes = {
        "use_cpu": not on_gpu,
        "objective_backend": case.backend,
        "dataloader_num_workers": 8 if on_gpu else 0,
    }
    config = load_config(run_config(case, scratch, steps=case.steps, changes=changes))
    model = config.model.model_copy(update={"attn_implementation": case.attention})
    config = config.model_copy(update={"model": model})
    ends: list[float] = []

    class Clock(TrainerCallback):
        """Notes when steps end."""

        def on_step_end(self, *_: object, **__: object) -> None:
            """Note it, once the GPU is done."""
            if on_gpu:
                torch.cuda.synchronize()
            ends.append(time.perf_counter())

    trainer = build_trainer(config, callbacks=[Clock()])
    (inputs,) = first_batches(trainer, 1)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    seconds = statistics.median(
        after - before
        for before, after in zip(ends[COUNTED_FROM - 1 :], ends[COUNTED_FROM:], strict=False)
    )
    (scratch / "made_of.json").write_text(json.dumps(made_of(inputs)), encoding="utf-8")
    tokens = inputs["labels"].numel()
    figures: dict[str, Any] = {
        "tokens": tokens,
        "supervised": int((inputs["labels"] >= 0).sum()),
        "seconds a step": seconds,
        "tokens a second": tokens / seconds,
    }
    if on_gpu:
        figures["machine"] = torch.cuda.get_device_name()
        figures["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
    return figures


def plan(case: Case, scratch: Path) -> dict[str, Any]:
    """Return what is planned for packs made of what the first batch was made of."""
    from training_ours import run_config  # noqa: PLC0415

    from coordexp.config.load import load_config  # noqa: PLC0415
    from coordexp.inspection.plan.costs import plan_costs  # noqa: PLC0415
    from coordexp.inspection.plan.one_pass import ExampleShape  # noqa: PLC0415

    parts = json.loads((scratch / "made_of.json").read_text(encoding="utf-8"))
    config = load_config(run_config(case, scratch, steps=case.steps))
    training = config.training.model_copy(update={"global_max_length": parts.pop("tokens")})
    config = config.model_copy(update={"training": training})
    example = ExampleShape(**parts)
    found = plan_costs(config, gpus=1, room=None, on_cpu=case.model == "tiny", example=example)
    return {"GB": found.total / 1e9, "operations": found.own.flops}


def peak_of(name: str) -> float | None:
    """Return the operations a second of a GPU's data sheet, where the planner knows it."""
    from coordexp.inspection.plan.costs import PEAKS  # noqa: PLC0415

    return next((1e12 * peak for known, peak in PEAKS.items() if known in name), None)


TASKS: dict[str, Callable[[Case, Path], dict[str, Any]]] = {
    "inputs": write,
    "train": train,
    "plan": plan,
}

if __name__ == "__main__":
    main()
