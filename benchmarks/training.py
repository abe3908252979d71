"""Measure a training run beside the same model in a bare transformers.Trainer.

    python benchmarks/training.py            everything; about half an hour of one core, 12 GB
    python benchmarks/training.py --quick    the tiny model alone, few steps: does it run?

Four figures, each from processes of their own on one thread, as ratios of ours to the bare one's:

- the CPU time of a step: two real training loops in two threads of one process take turns, step by
  step, on the same batches; the median over steps. The bare one's batches lie ready in memory.
- what of our step goes into data and into diagnostics: timers around the functions that do nothing
  else, named in `training_ours.py`;
- the CPU time from the start of a process to the end of its first step;
- the most memory that the process of a first step has held (VmHWM), at packs of 4,096 tokens, with
  gradient checkpointing.

Results go to `results/training-<machine>.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from results import processor, read_results, results_path, write_results

CONTENDERS = ("ours", "bare")


@dataclass(frozen=True)
class Case:
    """What is measured: `kind` is `step`, `start` or `memory`.

    Args:
        kind: See above.
        model: `tiny` or `real`.
        dtype: Of weights and computation.
        pack: Tokens of a pack; None for padded batches of eight scenes.
        steps: That count; one more comes before them.
        rounds: Processes of each contender.
    """

    kind: str
    model: str
    dtype: str
    pack: int | None
    steps: int
    rounds: int

    def name(self) -> str:
        """Return one line that tells cases apart."""
        batch = "8 padded scenes" if self.pack is None else f"packs of {self.pack}"
        return f"{self.kind:6} {self.model} {self.dtype} {batch}"


def all_cases() -> list[Case]:
    """Return what is measured, the most important first."""
    return [
        Case("step", "real", "float32", 1024, steps=3, rounds=1),
        Case("memory", "real", "float32", 4096, steps=1, rounds=1),
        Case("step", "tiny", "float32", None, steps=30, rounds=1),
        Case("start", "tiny", "float32", None, steps=1, rounds=3),
        Case("start", "real", "float32", 1024, steps=1, rounds=1),
        Case("step", "real", "bfloat16", 1024, steps=3, rounds=1),
    ]


def quick_cases() -> list[Case]:
    """Return small ones."""
    return [
        Case("step", "tiny", "float32", None, steps=4, rounds=1),
        Case("start", "tiny", "float32", None, steps=1, rounds=1),
    ]


def main() -> None:
    """Run all cases, print the figures, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with TEXT in their name")
    parser.add_argument("--scratch", type=Path, help="folder for models and records, kept")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker)
        return
    cases = quick_cases() if arguments.quick else all_cases()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or Path(temporary)
        scratch.mkdir(exist_ok=True)
        measure_all([case for case in cases if arguments.only in case.name()], scratch)


def measure_all(cases: list[Case], scratch: Path) -> None:
    """Measure cases one after the other; write the file after each of them."""
    machine = machine_name()
    path = results_path("training")
    for case in cases:
        figures = measure(case, scratch)
        print(case.name(), json.dumps(figures, indent=2), sep="\n", flush=True)
        if case in all_cases():
            known = read_results(path).get("rows", [])
            rows = [row for row in known if row["case"] != asdict(case)]
            rows.append({"case": asdict(case), "figures": figures})
            write_results(path, {"machine": machine, "rows": rows})


def measure(case: Case, scratch: Path) -> dict[str, object]:
    """Return the figures of a case."""
    in_a_process("inputs", case, scratch)
    if case.kind == "step":
        return in_a_process("step", case, scratch)
    if case.kind == "memory":
        in_a_process("batches", case, scratch)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(case.rounds):
        for name, found in runs.items():
            found.append(in_a_process(name, case, scratch))
    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    ours, bare = medians.values()
    return {**medians, "ratio": {key: ours[key] / bare[key] for key in ours}}


def in_a_process(task: str, case: Case, scratch: Path) -> dict[str, object]:
    """Return what a fresh process finds out."""
    command = [sys.executable, __file__, "--worker", task, json.dumps(asdict(case)), str(scratch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if case.kind == "memory":
        # Freed tensors go back at once: glibc would keep gigabytes of small pieces, of either.
        environment["MALLOC_MMAP_THRESHOLD_"] = "1000000"
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def work(task: str, case: str, scratch: str) -> None:
    """Do one task in this process; its last line on standard output is what it found."""
    measured = Case(**json.loads(case))
    # Each imports what it needs and nothing else: the start of a process is one of the figures.
    if task == "bare":
        from training_bare import run_bare  # noqa: PLC0415

        run_bare(measured, Path(scratch), report)
    else:
        from training_ours import TASKS  # noqa: PLC0415

        TASKS[task](measured, Path(scratch), report)


def report(figures: dict[str, object]) -> None:
    """Hand figures to the process that asked."""
    print("\n" + json.dumps(figures), flush=True)


def machine_name() -> dict[str, object]:
    """Return what the figures depend on."""
    from importlib.metadata import version  # noqa: PLC0415

    return {
        "machine": processor(),
        "threads": 1,
        **{name: version(name) for name in ("torch", "transformers", "peft")},
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
