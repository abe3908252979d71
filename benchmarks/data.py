"""Measure `coordexp data prepare`: tokenising, its memory, and resizing against bare Pillow.

    python benchmarks/data.py              a million records; ten minutes on one core
    python benchmarks/data.py --quick      the same, small

Each measurement runs in a process of its own; contenders take turns, round by round, and the median
over the rounds counts. Times are CPU seconds of the process and its workers, so that a busy machine
disturbs them little. The bare loop opens, converts, resizes and saves the same pictures to the same
sizes and formats, and nothing else. A table goes to standard output, and with the machine's name to
`benchmarks/results/`.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from PIL import Image
from results import processor, results_path, write_results

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.prepare import prepare_file
from coordexp.data.prepare.resizing import JPEG_QUALITY
from coordexp.families.picture_grid import smart_resize
from coordexp.families.qwen3_vl.family import QWEN3_VL

GRID = QWEN3_VL.grid.limited(most=768 * 28 * 28)
ROUNDS = 3


def write_records(path: Path, count: int) -> None:
    """Write records of five boxes each."""
    draw = random.Random(0)
    with path.open("w") as file:
        for number in range(count):
            width, height = draw.randint(300, 1200), draw.randint(300, 1200)
            objects = []
            for _ in range(5):
                x1, y1 = draw.uniform(0, width - 20), draw.uniform(0, height - 20)
                x2, y2 = draw.uniform(x1 + 5, width), draw.uniform(y1 + 5, height)
                box = [round(value, 2) for value in (x1, y1, x2, y2)]
                desc = draw.choice(["cat", "dog", "traffic light", "person"])
                objects.append({"desc": desc, "bbox_2d": box})
            row = {"images": [f"images/{number:08}.jpg"], "width": width, "height": height}
            file.write(json.dumps({**row, "objects": objects}) + "\n")


def write_pictures(folder: Path, count: int) -> None:
    """Write photographs, as far as noise over a gradient is one, and their records."""
    (folder / "images").mkdir()
    with (folder / "raw.jsonl").open("w") as file:
        for number in range(count):
            width, height = (1280, 960) if number % 3 else (1000, 1500)
            noise = Image.effect_noise((width // 4, height // 4), 40).resize((width, height))
            slope = Image.linear_gradient("L").resize((width, height))
            picture = Image.merge("RGB", (noise, slope, Image.blend(noise, slope, 0.5)))
            picture.save(folder / "images" / f"{number}.jpg", quality=90)
            row = {"images": [f"images/{number}.jpg"], "width": width, "height": height}
            file.write(json.dumps({**row, "objects": []}) + "\n")


def resize_bare(job: tuple[str, str, int, int]) -> None:
    """Decode, resize and encode one picture."""
    source, target, width, height = job
    with Image.open(source) as picture:
        image = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        image.save(target, "JPEG", quality=JPEG_QUALITY)


def run_bare(folder: Path, out: Path, workers: int) -> None:
    """Resize all pictures of a folder with Pillow and nothing else."""
    jobs = []
    for record in RecordFile(folder / "raw.jsonl", SPEC_ALPHABET):
        size = smart_resize(record.width, record.height, GRID)
        target = out / Path(record.image).name
        jobs.append((str(folder / record.image), str(target), *size))
    if workers == 1:
        for job in jobs:
            resize_bare(job)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(resize_bare, jobs, chunksize=25))


def run_one(kind: str, folder: Path, workers: int) -> None:
    """Do one measurement and print CPU seconds and peak memory in MB."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        out, before = Path(name), cpu_seconds()
        if kind == "bare":
            run_bare(folder, out, workers)
        elif kind == "resize":
            prepare_file(
                folder / "raw.jsonl",
                out / "t.jsonl",
                PrepareOptions(alphabet=SPEC_ALPHABET, grid=GRID, workers=workers),
            )
        else:
            prepare_file(
                folder / kind,
                folder / f"{kind}.out",  # the pictures' folder: nothing is copied
                PrepareOptions(alphabet=SPEC_ALPHABET, workers=workers, overwrite=True),
            )
        seconds = cpu_seconds() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def cpu_seconds() -> float:
    """Return what this process and its ended workers have used."""
    times = os.times()
    return sum(times[:4])


def measure(kind: str, folder: Path, workers: int) -> dict[str, float]:
    """Return one measurement, made in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, str(folder), str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def tokenising(folder: Path, count: int) -> dict[str, object]:
    """Measure a file and one ten times as long."""
    figures: dict[str, object] = {}
    for records in (count // 10, count):
        write_records(folder / f"{records}.jsonl", records)
        runs = [
            measure(f"{records}.jsonl", folder, 1) for _ in range(ROUNDS if records < count else 1)
        ]
        seconds = statistics.median(run["seconds"] for run in runs)
        figures[f"{records} records"] = {
            "records_per_second_and_core": round(records / seconds),
            "peak_mb": round(max(run["peak_mb"] for run in runs), 1),
        }
        for path in folder.glob(f"{records}.jsonl*"):
            path.unlink()
    return figures


def resizing(folder: Path, count: int) -> dict[str, object]:
    """Measure both loops with one worker and with two."""
    write_pictures(folder, count)
    figures: dict[str, object] = {}
    for workers in (1, 2):
        runs: dict[str, list[float]] = {"bare": [], "resize": []}
        for _ in range(ROUNDS):
            for kind, seconds in runs.items():
                seconds.append(measure(kind, folder, workers)["seconds"])
        bare, ours = (statistics.median(seconds) for seconds in runs.values())
        figures[f"{workers} worker(s)"] = {
            "bare_pictures_per_cpu_second": round(count / bare, 2),
            "our_pictures_per_cpu_second": round(count / ours, 2),
            "share_of_bare": round(bare / ours, 3),
        }
    return figures


def main() -> None:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, folder, workers = arguments.one
        run_one(kind, Path(folder), int(workers))
        return
    records, pictures = (100_000, 60) if arguments.quick else (1_000_000, 200)
    with tempfile.TemporaryDirectory() as name:
        results = {
            "machine": processor(),
            "cores": os.cpu_count(),
            "load_at_start": os.getloadavg()[0],
            "resizing": resizing(Path(name), pictures),
            "tokenising": tokenising(Path(name), records),
        }
    print(json.dumps(results, indent=2))
    if not arguments.quick:
        write_results(results_path("data"), results)


if __name__ == "__main__":
    main()
