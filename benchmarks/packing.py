"""Measure the packing: how full packs are, and how long a plan takes.

    python benchmarks/packing.py             1,000,000 lengths, about two minutes of one core
    python benchmarks/packing.py --quick     20,000 lengths: does it run?

Three ways to pack the same stream of lengths take turns, and the median over the rounds counts:

- `ours`: `coordexp.data.plan.best_fit`, with a buffer of 512;
- `next fit`: an example opens a new pack where it does not fit, what concatenating gives;
- `longest first`: best fit from the start, over the same buffer; the way that was rejected.

Times are CPU seconds of one process. `benchmarks/results/packing-<machine>.json` gets the result.
"""

import argparse
import platform
import statistics
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence

import numpy as np
from results import processor, results_path, write_results

from coordexp.data.plan.best_fit import pack_best_fit
from coordexp.data.plan.schedule import PackedBatches, PackSettings, Shuffled

BUFFER = 512
CAPACITIES = (2048, 4096, 8192, 16384)
ROUNDS = 3


def lvis_like(count: int, seed: int) -> list[int]:
    """Return lengths as LVIS gives them: about 12 objects a picture, some pictures with hundreds.

    A box object takes 31 tokens, the prompt 60, a picture of 640 x 480 about 300.
    """
    random = np.random.default_rng(seed)
    objects = np.minimum(1 + random.lognormal(2.0, 0.95, count).astype(int), 300)
    lengths: list[int] = (random.integers(220, 340, count) + 60 + 31 * objects).tolist()
    return lengths


def ours(lengths: Sequence[int], capacity: int) -> int:
    """Return the number of packs."""
    return len(pack_best_fit(lengths, capacity=capacity, buffer=BUFFER).members)


def next_fit(lengths: Sequence[int], capacity: int) -> int:
    """Return the number of packs."""
    packs, room = 0, 0
    for length in lengths:
        if length > room:
            packs, room = packs + 1, capacity
        room -= length
    return packs


def longest_first(lengths: Sequence[int], capacity: int) -> int:
    """Return the number of packs."""
    waiting, stream = sorted(lengths[:BUFFER]), iter(lengths[BUFFER:])
    packs = 0
    while waiting:
        packs, room = packs + 1, capacity
        while place := bisect_right(waiting, room):
            room -= waiting.pop(place - 1)
            following = next(stream, None)
            if following is not None:
                insort(waiting, following)
    return packs


WAYS: dict[str, Callable[[Sequence[int], int], int]] = {
    "ours": ours,
    "next fit": next_fit,
    "longest first": longest_first,
}


def measure(lengths: Sequence[int], capacity: int) -> dict[str, dict[str, float]]:
    """Return the seconds and the fill of each way, by name."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    packs: dict[str, int] = {}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            start = time.process_time()
            packs[name] = way(lengths, capacity)
            seconds[name].append(time.process_time() - start)
    return {
        name: {
            "cpu seconds": statistics.median(seconds[name]),
            "fill": sum(lengths) / (capacity * packs[name]),
        }
        for name in WAYS
    }


def epoch_seconds(lengths: Sequence[int], capacity: int) -> float:
    """Return the CPU seconds of a whole epoch's plan: shuffled, packed, the packs shuffled."""
    seconds = []
    for seed in range(ROUNDS):
        settings = PackSettings(capacity, BUFFER, min_fill=0.0, drop_last=False)
        plan = PackedBatches(Shuffled(range(len(lengths)), seed), lengths, settings, seed=seed)
        start = time.process_time()
        plan.batches(0)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20,000 lengths in place of a million")
    quick = parser.parse_args().quick
    everything = lvis_like(20_000 if quick else 1_000_000, seed=0)
    rows = []
    for capacity in CAPACITIES:
        lengths = [length for length in everything if length <= capacity]
        row = {
            "capacity": capacity,
            "examples": len(lengths),
            "mean tokens": round(statistics.fmean(lengths), 1),
            "plan of an epoch, cpu seconds": epoch_seconds(lengths, capacity),
            "ways": measure(lengths, capacity),
        }
        rows.append(row)
        for name, figures in row["ways"].items():
            print(
                f"{capacity:6} {name:14} {figures['fill']:7.2%} full"
                f" {figures['cpu seconds']:7.2f} s"
            )
        print(f"{capacity:6} plan of an epoch      {row['plan of an epoch, cpu seconds']:12.2f} s")
    result = {
        "machine": processor(),
        "python": platform.python_version(),
        "buffer": BUFFER,
        "rounds": ROUNDS,
        "lengths": "1 + lognormal(2.0, 0.95) objects of 31 tokens, at most 300; 280 to 399 beside",
        "rows": rows,
    }
    if not quick:
        write_results(results_path("packing"), result)


if __name__ == "__main__":
    main()
