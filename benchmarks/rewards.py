"""Measure what rewards cost: CPU seconds for 1,000 answers of 20 objects.

    python benchmarks/rewards.py            medians of seven rounds, some seconds of one core
    python benchmarks/rewards.py --quick    50 answers, one round

Answers are written to the letter, and their boxes near the true ones, as a tuned model's are; in
a second case every third is cut off, and in a third the objects are polygons. Every term is
computed. CPU time of one process; the result goes to `benchmarks/results/` with the machine's name.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from pathlib import Path

from results import processor, results_path, write_results

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rendering.dense_json import render_answer
from coordexp.rewards.reward import rewards
from coordexp.rewards.weights import STARTING_WEIGHTS

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.rendering.plain import PLAIN_STYLE

OBJECTS, CLASSES, LAST = 20, 10, SPEC_ALPHABET.bins - 1


def main() -> None:
    """Run all cases, print them, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    arguments = parser.parse_args()
    count, rounds = (50, 1) if arguments.quick else (1_000, 7)
    cases = [
        measure("boxes", count, rounds, corners=2, cut=False),
        measure("boxes, every third answer cut off", count, rounds, corners=2, cut=True),
        measure("polygons of eight corners", count, rounds, corners=8, cut=False),
    ]
    print(json.dumps(cases, indent=1))
    if not arguments.quick:
        out = results_path("rewards")
        about = {"machine": processor(), "python": platform.python_version()}
        write_results(out, {**about, "cases": cases})
        print(out)


def measure(case: str, count: int, rounds: int, *, corners: int, cut: bool) -> dict[str, object]:
    """Return the median CPU time of all rewards of a case."""
    chance = random.Random(0)
    records = [record(chance, corners) for _ in range(count)]
    texts = [answer(chance, one) for one in records]
    if cut:
        texts[::3] = [text[:-9] for text in texts[::3]]
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        worth = rewards(
            texts,
            records,
            style=PLAIN_STYLE,
            end_marks=QWEN3_VL.end_marks,
            longest=100,
            weights=STARTING_WEIGHTS,
        )
        seconds.append(time.process_time() - start)
    return {
        "case": case,
        "answers": count,
        "objects an answer": OBJECTS,
        "CPU seconds": round(statistics.median(seconds), 3),
        "rounds": [round(value, 3) for value in seconds],
        "mean reward": round(float(worth.total.mean()), 4),
    }


def record(chance: random.Random, corners: int) -> Record:
    """Return a picture's objects, in bins."""
    objects = []
    for _ in range(OBJECTS):
        x, y, side = chance.randrange(850), chance.randrange(850), chance.randrange(20, 140)
        values = [x, y, x + side, y + side]
        if corners > 2:  # noqa: PLR2004 - a box has two
            values += [chance.randrange(0, side) + (x, y)[k % 2] for k in range(2 * corners - 4)]
        kind = "bbox_2d" if corners == 2 else "poly"  # noqa: PLR2004
        geometry = Geometry(kind, tuple(values), "bin")
        objects.append(RecordObject(f"class {chance.randrange(CLASSES)}", geometry))
    return Record(("a.png",), 640, 480, tuple(objects))


def answer(chance: random.Random, truth: Record) -> str:
    """Return an answer that is right by some bins."""
    near = []
    for item in truth.objects:
        shift = chance.randrange(9)
        values = tuple(min(LAST, int(value) + shift) for value in item.geometry.values)
        near.append(RecordObject(item.desc, Geometry(item.geometry.kind, values, "bin")))
    return render_answer(
        near, 1, 1, alphabet=SPEC_ALPHABET, json_format="standard", coord_tokens=True
    )


if __name__ == "__main__":
    main()
