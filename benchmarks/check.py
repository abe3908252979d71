"""Measure `coordexp data check`: records per second, beside bare `json.loads` of the same lines.

    python benchmarks/check.py            100,000 records of each kind, some minutes of one core
    python benchmarks/check.py --quick    2,000 of each

Without pictures, in one process on one core; CPU time, medians over the rounds, in which the audit
and its rival take turns. The table goes to standard output, and with the machine's name to
`benchmarks/results/`.
"""

import argparse
import json
import math
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from results import processor, results_path, write_results

from coordexp.coord_tokens.codec import SPEC_ALPHABET, ints_to_tokens, pixel_to_bin
from coordexp.data.audit.audit import audit_files

OBJECTS, CORNERS, CLASSES = 5, 24, 80

Row = dict[str, object]


def main() -> None:
    """Run all cases, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    count = 2_000 if arguments.quick else 100_000
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("boxes in pixels", "boxes in tokens", "polygons in pixels"):
            path = Path(folder) / f"{kind}.jsonl"
            write_records(path, kind, count)
            results.append(measure(path, kind, count, arguments.rounds))
            print(line_of(results[-1]), flush=True)
    if not arguments.quick:
        out = results_path("check")
        about = {"machine": processor(), "python": platform.python_version()}
        write_results(out, {**about, "cases": results})
        print(out)


def measure(path: Path, kind: str, count: int, rounds: int) -> Row:
    """Return medians of both contenders."""
    ours, rival = [], []
    for _ in range(rounds):
        ours.append(cpu_seconds(lambda: check(path)))
        rival.append(cpu_seconds(lambda: load(path)))
    seconds, bare = statistics.median(ours), statistics.median(rival)
    return {
        "kind": kind,
        "records": count,
        "objects_per_record": OBJECTS,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "check_seconds": seconds,
        "json_loads_seconds": bare,
        "ratio": seconds / bare,
        "records_per_second": count / seconds,
        "rounds": [ours, rival],
    }


def cpu_seconds(work: Callable[[], None]) -> float:
    """Return the CPU time that something takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def check(path: Path) -> None:
    """Audit a file that is good."""
    report = audit_files([path], images=False, alphabet=SPEC_ALPHABET)
    if report.total("violation"):
        raise AssertionError(report.findings[0].places[0])


def load(path: Path) -> None:
    """Decode every line and look at nothing."""
    with path.open("rb") as file:
        for line in file:
            json.loads(line)


def write_records(path: Path, kind: str, count: int) -> None:
    """Write records with five objects each."""
    chance = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            width, height = chance.randint(300, 1900), chance.randint(300, 1900)
            objects = [
                {"desc": f"class {chance.randrange(CLASSES)}", **geometry}
                for geometry in geometries(chance, kind, width, height)
            ]
            row = {"images": [f"images/{number:07}.jpg"], "width": width, "height": height}
            file.write(json.dumps({**row, "objects": objects}) + "\n")


def geometries(chance: random.Random, kind: str, width: int, height: int) -> Iterator[Row]:
    """Yield the geometries of a record."""
    for _ in range(OBJECTS):
        x1, y1 = chance.uniform(0, width * 0.8), chance.uniform(0, height * 0.8)
        x2, y2 = chance.uniform(x1 + 2, width), chance.uniform(y1 + 2, height)
        box = [round(value, 2) for value in (x1, y1, x2, y2)]
        if kind == "polygons in pixels":
            yield {
                "poly": outline(chance, (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2)
            }
        elif kind == "boxes in tokens":
            sizes = (width, height, width, height)
            bins = [
                pixel_to_bin(value, size, SPEC_ALPHABET)
                for value, size in zip(box, sizes, strict=True)
            ]
            yield {"bbox_2d": list(ints_to_tokens(bins, SPEC_ALPHABET)), "bbox_2d_px": box}
        else:
            yield {"bbox_2d": box}


def outline(chance: random.Random, x: float, y: float, wide: float, high: float) -> list[float]:
    """Return a star-shaped outline, as irregular as traced ones."""
    values = []
    for k in range(CORNERS):
        angle, reach = 2 * math.pi * k / CORNERS, chance.uniform(0.6, 1)
        values += [x + wide * reach * math.cos(angle), y + high * reach * math.sin(angle)]
    return [round(value, 2) for value in values]


def line_of(result: Row) -> str:
    """Return one line of the table."""
    return (
        f"{result['kind']:20} {result['records']:,} records, {result['megabytes']} MB: "
        f"check {result['check_seconds']:.2f} s, json.loads {result['json_loads_seconds']:.2f} s, "
        f"ratio {result['ratio']:.2f}, {result['records_per_second']:,.0f} records/s"
    )


if __name__ == "__main__":
    main()
