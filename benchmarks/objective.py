"""Measure the stage-1 objective: time, memory and error of every backend and its rivals.

    python benchmarks/objective.py                 all cases; half an hour on one core
    python benchmarks/objective.py --quick         the same cases, small
    python benchmarks/objective.py --device cuda   the GPU cases

Each case runs in a process of its own, its contenders one after the other, round by round; medians
over the rounds. On a CPU the time is the process's CPU time, on a GPU that between two events. A
table goes to standard output, and with the machine's name to `benchmarks/results/`.
"""

import argparse
import ctypes
import gc
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from objective_contenders import (
    CONTENDERS,
    Gradients,
    Inputs,
    bare_products,
    build_inputs,
    is_available,
    run_stage1,
)
from results import processor, read_results, results_path, write_results

VOCAB = 152_670
LARGEST_VOCAB = 248_320  # Qwen3.5's


@dataclass(frozen=True)
class Case:
    """One process: `kind` is `time`, `memory` or `error`."""

    kind: str
    contenders: tuple[str, ...]
    tokens: int = 2048
    width: int = 1024
    vocab: int = VOCAB
    dtype: str = "float32"
    supervised: float = 1.0
    coord: float = 0.4
    rounds: int = 3
    device: str = "cpu"
    threads: int = 1

    def inputs(self, **changes: object) -> Inputs:
        """Return the case's inputs."""
        arguments = {
            "tokens": self.tokens,
            "width": self.width,
            "vocab": self.vocab,
            "supervised": self.supervised,
            "coord": self.coord,
            "dtype": getattr(torch, self.dtype),
            "device": self.device,
        }
        return build_inputs(**(arguments | changes))

    def name(self) -> str:
        """Return one line that tells cases apart."""
        return (
            f"{self.kind:6} {self.dtype:8} T={self.tokens} D={self.width} V={self.vocab} "
            f"supervised {self.supervised:.0%}, of which coord {self.coord:.0%}"
        )


def cpu_cases() -> list[Case]:
    """Return the cases for a CPU, the most important first."""
    pair = ("fused", "reference")
    rivals = (*pair, "materialised CE", "torch linear CE", "Liger CE", "CE + ntloss")
    heads = (*pair, "fused, trainable head", "reference, trainable head")
    types = ("float32", "bfloat16")
    cases = [Case("error", pair, tokens=128, dtype=d) for d in ("float64", *types)]
    cases += [Case("time", pair, dtype=d) for d in types]
    cases += [Case("time", pair, dtype=d, supervised=s) for s in (0.2, 0.5) for d in types]
    cases += [Case("memory", ("fused",), dtype=d, tokens=t) for t in (2048, 8192) for d in types]
    cases += [Case("memory", ("reference",), dtype=d) for d in types]
    cases += [Case("time", pair, coord=c) for c in (0.13, 0.3)]
    cases += [Case("time", rivals, dtype=d, tokens=512, supervised=0.5, rounds=1) for d in types]
    gates = ("fused", "fused, gate_weight 0", "fused, no gate")
    cases += [Case("time", gates, coord=c, tokens=512) for c in (0.13, 0.3, 0.4)]
    everything = ("fused", "materialised CE")
    cases += [Case("time", everything, dtype=d, supervised=0.2, rounds=1) for d in types]
    return [*cases, Case("time", heads, tokens=512, rounds=1)]


def cuda_cases() -> list[Case]:
    """Return the cases for a GPU, the most telling first: what is cut off is the least."""
    all_of_them = ("triton", "fused", "reference", "materialised CE", "torch linear CE", "Liger CE")
    base = Case("time", all_of_them, tokens=16384, dtype="bfloat16", rounds=10, device="cuda")
    times = [replace(base, width=w) for w in (4096, 2560)]
    memory = [
        replace(case, kind="memory", contenders=("triton", "fused", "Liger CE"), rounds=3)
        for case in times
    ]
    errors = [
        replace(
            base, kind="error", contenders=("triton", "fused", "reference"), tokens=512, dtype=d
        )
        for d in ("float64", "float32", "bfloat16")
    ]
    wide = [replace(case, vocab=LARGEST_VOCAB) for case in (*times, *memory)]
    shares = [replace(base, supervised=s, width=2560) for s in (0.2, 0.5)]
    coords = [replace(base, coord=c, width=2560) for c in (0.13, 0.3)]
    return [*times, *memory, *errors, *wide, *shares, *coords]


def main() -> None:
    """Run all cases, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases with TEXT in their name; the rest stay"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(Case(**json.loads(arguments.worker)))))
        return
    cases = cpu_cases() if arguments.device == "cpu" else cuda_cases()
    if arguments.quick:
        small = {"tokens": 256, "width": 64, "vocab": 12_000, "rounds": 1}
        cases = [replace(case, **small) for case in cases]
    machine = machine_name(arguments.device, arguments.threads)
    path = results_path("objective", str(machine["machine"]))
    print(" | ".join(f"{key}: {value}" for key, value in machine.items()))
    wanted = [replace(c, threads=arguments.threads) for c in cases if arguments.only in c.name()]
    rows = [
        row for row in read_results(path).get("rows", []) if row["case"] not in map(asdict, wanted)
    ]
    for case in wanted:
        rows += in_a_process(case)
        if not arguments.quick:
            write_results(path, {"machine": machine, "rows": rows})


def in_a_process(case: Case) -> list[dict[str, object]]:
    """Run a case in a fresh process, print its rows and return them."""
    command = [sys.executable, __file__, "--worker", json.dumps(asdict(case))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{case.name()}", flush=True)
    for row in rows:
        figures = (f"{key} {value:.4g}" for key, value in row["figures"].items())
        told = "  ".join(figures) or "out of memory"
        print(f"    {row['contender']:26} {told}", flush=True)
    return [{"case": asdict(case), **row} for row in rows]


def work(case: Case) -> list[dict[str, object]]:
    """Return one row of figures for each contender of a case."""
    torch.set_num_threads(case.threads)
    contenders = [name for name in case.contenders if is_available(name, case.device)]
    measure = {"time": times, "memory": peaks, "error": errors}[case.kind]
    # Libraries, threads and compiled kernels are there before anything counts.
    small = case.inputs(tokens=64, vocab=8192) if case.device == "cpu" else case.inputs()
    fit = [name for name in contenders if fits(name, small)]
    del small
    found = measure(case, fit) | {name: {} for name in contenders if name not in fit}
    return [{"contender": name, "figures": figures} for name, figures in found.items()]


def fits(contender: str, inputs: Inputs) -> bool:
    """Run a contender once; return whether the GPU has the memory for it."""
    try:
        CONTENDERS[contender](inputs)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True


Table = dict[str, dict[str, float]]


def times(case: Case, contenders: list[str]) -> Table:
    """Return seconds, their ratio to the reference's, and the share of the limit reached."""
    inputs = case.inputs()
    clock = cuda_clock if case.device == "cuda" else cpu_clock
    dtypes = {getattr(torch, case.dtype), torch.float32}
    products = [bare_products(inputs, dtype) for dtype in dtypes if case.device == "cpu"]
    products = products or [bare_products(inputs, getattr(torch, case.dtype))]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    limits = []
    for _ in range(case.rounds):
        limits.append(min(clock(product) / product() for product in products))
        for name in contenders:
            seconds[name].append(clock(lambda name=name: CONTENDERS[name](inputs)))
    limit = statistics.median(limits)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    table: Table = {"bare products": {"seconds": limit}}
    for name, value in medians.items():
        table[name] = {"seconds": value, "share of limit": limit / value}
        for rival in {"reference", "fused, no gate"} & medians.keys():
            table[name][f"over {rival}"] = value / medians[rival]
    return table


def cpu_clock(function: Callable[[], object]) -> float:
    """Return the CPU seconds that a call takes."""
    gc.collect()
    start = time.process_time()
    function()
    return time.process_time() - start


def cuda_clock(function: Callable[[], object]) -> float:
    """Return the seconds that a call keeps the GPU busy."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    function()
    stop.record()
    torch.cuda.synchronize()
    return start.elapsed_time(stop) / 1000


def peaks(case: Case, contenders: list[str]) -> Table:
    """Return the peak memory beyond inputs and their gradients, in megabytes: median and worst."""
    inputs = case.inputs()
    gradients = inputs.hidden.nbytes + inputs.head_offset.nbytes
    table: Table = {}
    for name in contenders:
        above = []
        for _ in range(case.rounds):
            before = reset_peak(case.device)
            CONTENDERS[name](inputs)
            above.append((peak(case.device) - before - gradients) / 1e6)
        table[name] = {"peak MB": statistics.median(above), "worst MB": max(above)}
    return table


def reset_peak(device: str) -> int:
    """Forget the peak so far; return the bytes in use."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak("cpu")


def peak(device: str) -> int:
    """Return the most bytes in use since the last reset."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def errors(case: Case, contenders: list[str]) -> Table:
    """Return the largest errors against float64 autograd, relative to the largest value."""
    inputs = case.inputs()
    exact = run_stage1(as_float64(inputs), "reference")
    return {name: compare(run_stage1(inputs, name), exact) for name in contenders}


def as_float64(inputs: Inputs) -> Inputs:
    """Return the same numbers in float64."""
    return replace(
        inputs,
        hidden=inputs.hidden.double(),
        head_weight=inputs.head_weight.double(),
        head_offset=inputs.head_offset.double(),
    )


def compare(actual: Gradients, exact: Gradients) -> dict[str, float]:
    """Return the relative errors by name."""
    return {
        name: float((actual[name].double() - exact[name]).abs().max() / exact[name].abs().max())
        for name in exact
    }


def machine_name(device: str, threads: int) -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "machine": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "cores": torch.get_num_threads(),
        "threads": threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
