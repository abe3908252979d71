"""Measure `coordexp evaluate`: its time beside the tools it stands on, its report in a browser.

    python benchmarks/evaluation.py                       5,000 images, 36,000 true boxes; 5 minutes
    python benchmarks/evaluation.py --quick               the same, small
    python benchmarks/evaluation.py --crowded             one picture of 20,000 boxes; a minute
    python benchmarks/evaluation.py --predictions P.jsonl what the scores of a model are worth

Each measurement runs in a process of its own; contenders take turns, round by round, and the median
over the rounds counts. Times are CPU seconds without imports. Ours begins with predictions.jsonl on
disk and ends with metrics.json on disk; the others begin with truth and results as COCO's JSON on
disk and end with the twelve figures. The report is opened in headless Chromium, and its time counts
from the start of the navigation to the end of the load event. What the scores are worth is AP as it
is, beside AP with every score equal (mean and deviation over 20 image orders), and the calibration
error on images that the map was not fitted on. The crowded picture has
20,000 true boxes and as many predictions, all of which overlap each other: the most that can be
asked of one picture. Its peak memory is that of the whole process. Results go to
`benchmarks/results/` under the machine's name.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from results import processor, read_results, results_path, write_results

CLASSES, SIZE, CROWD = 80, (640, 480), 20_000
FOUND, NAMED = 0.85, 0.9
CONTENDERS = ("coordexp", "faster-coco-eval", "pycocotools")

Box = np.ndarray[tuple[int], np.dtype[np.float64]]


def write_predictions(path: Path, images: int, boxes: int) -> None:
    """Write predictions as a fair detector makes them: some missed, some shaken, some invented."""
    random = np.random.default_rng(0)
    common = 1 / np.arange(1, CLASSES + 1) ** 0.8
    counts = np.bincount(random.integers(0, images, boxes), minlength=images)
    with path.open("w") as file:
        for number, count in enumerate(counts.tolist()):
            present = random.choice(CLASSES, 3, p=common / common.sum())
            gt, pred = [], []
            for _ in range(count):
                box, name = random_box(random), f"class {random.choice(present)}"
                gt.append({"desc": name, "bbox_2d": box.round(2).tolist()})
                if random.random() < FOUND:
                    pred.append(shaken(random, box, name))
            for _ in range(random.poisson(1.2)):
                name = f"class {random.integers(CLASSES)}"
                pred.append(predicted(name, random_box(random), random.uniform(0, 0.7)))
            row = {
                "root": ".",
                "image": f"images/{number}.jpg",
                "width": SIZE[0],
                "height": SIZE[1],
            }
            row |= {"gt": gt, "pred": pred, "raw_text": "{...}" * len(pred)}
            row |= {"parse": {"status": "ok", "dropped": []}, "finish_reason": "eos"}
            row["tokens"] = [['{"object": "', 1.0], ["class", 0.9], [" 1", 0.4]] * len(pred)
            file.write(json.dumps(row) + "\n")


def random_box(random: np.random.Generator) -> Box:
    """Return a box of any size inside the image."""
    size = np.exp(random.uniform(np.log(8), np.log(300), 2))
    corner = random.uniform(0, np.array(SIZE) - size)
    return np.concatenate([corner, corner + size])


def shaken(random: np.random.Generator, box: Box, name: str) -> dict[str, Any]:
    """Return a prediction of a true box; the worse it is, the less sure it is."""
    noise = abs(random.normal(0, 0.06))
    width, height = box[2:] - box[:2]
    moved = box + random.normal(0, noise, 4) * [width, height, width, height]
    moved = np.clip(moved, 0, [*SIZE, *SIZE])
    low, high = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
    said = name if random.random() < NAMED else f"class {random.integers(CLASSES)}"
    return predicted(said, np.concatenate([low, high]), random.normal(0.8 - 2 * noise, 0.15))


def predicted(name: str, box: Box, score: float) -> dict[str, Any]:
    """Return one prediction as its JSON."""
    parts = {"coord": 0.9, "desc": 0.9, "another": 0.9, "entropy": 2.0}
    shown = float(np.clip(score, 0.001, 0.999))
    return {"desc": name, "bbox_2d": box.tolist(), "score": shown, "score_parts": parts}


def write_coco(source: Path, folder: Path) -> None:
    """Write the same truth and predictions as COCO's tools read them."""
    from coordexp.evaluation.measure.coco_dataset import coco_dataset  # noqa: PLC0415
    from coordexp.evaluation.measure.instances import collect_instances  # noqa: PLC0415
    from coordexp.evaluation.measure.predictions import read_predictions  # noqa: PLC0415

    found = collect_instances(read_predictions(source), matching="normalized", unknown="bucket")
    ids = np.arange(1, len(found.sizes) + 1)
    truth, results = (
        coco_dataset(found, items, "bbox", ids) for items in (found.truth, found.predicted)
    )
    truth["info"] = {}
    # As a dataset has them: no bucket of unknown descs.
    truth["categories"] = truth["categories"][:-1]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results["annotations"]))


def run_one(name: str, folder: Path) -> None:
    """Do one measurement and print its CPU seconds and figures."""
    if name.startswith("crowded"):
        run_crowded(folder, int(name.split()[1]))
        return
    if name == "coordexp":
        from coordexp.evaluation.evaluate import compute_figures, write_figures  # noqa: PLC0415

        start = time.process_time()
        computed = compute_figures(folder / "predictions.jsonl")
        write_figures(folder / "out", computed)
        seconds = time.process_time() - start
        bbox = computed.metrics["bbox"]
        figures = [bbox[k] for k in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
    else:
        seconds, figures = run_rival(name, folder)
    print(json.dumps({"seconds": seconds, "figures": figures}))


def run_rival(name: str, folder: Path) -> tuple[float, list[float]]:
    """Return CPU seconds and the first six figures of one of COCO's tools."""
    if name == "pycocotools":
        from pycocotools.coco import COCO  # noqa: PLC0415
        from pycocotools.cocoeval import COCOeval  # noqa: PLC0415
    else:
        from faster_coco_eval import COCO  # noqa: PLC0415
        from faster_coco_eval import COCOeval_faster as COCOeval  # noqa: PLC0415
    with redirect_stdout(StringIO()):
        start = time.process_time()
        truth = COCO(str(folder / "truth.json"))
        run = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
        seconds = time.process_time() - start
    return seconds, [float(value) for value in run.stats[:6]]


def measure_time(folder: Path, images: int, boxes: int, rounds: int) -> dict[str, Any]:
    """Return the medians of all contenders, and how far their figures are apart."""
    write_predictions(folder / "predictions.jsonl", images, boxes)
    write_coco(folder / "predictions.jsonl", folder)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    figures = {}
    for turn in range(rounds):
        for name in CONTENDERS if turn == 0 else CONTENDERS[:2]:
            command = [sys.executable, __file__, "--one", name, str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            measured = json.loads(done.stdout.splitlines()[-1])
            seconds[name].append(measured["seconds"])
            figures[name] = measured["figures"]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours, faster, slow = (medians[name] for name in CONTENDERS)
    apart = np.abs(np.array(figures["coordexp"]) - np.array(figures["pycocotools"])).max()
    return {
        "images": images,
        "true_boxes": boxes,
        "rounds": rounds,
        "cpu_seconds": {name: round(value, 2) for name, value in medians.items()},
        "ours_over_faster_coco_eval": round(ours / faster, 2),
        "pycocotools_over_ours": round(slow / ours, 2),
        "largest_difference_from_pycocotools": float(apart),
    }


def measure_report(folder: Path, images: int) -> dict[str, Any]:
    """Return what the report of so many images costs to write, to keep and to open."""
    from coordexp.evaluation.evaluate import evaluate_predictions  # noqa: PLC0415

    source = folder / "predictions.jsonl"
    write_predictions(source, images, 7 * images)
    (folder / "images").mkdir()
    for number in range(images):
        noise = Image.effect_noise((160, 120), 60).resize(SIZE, Image.Resampling.BICUBIC)
        noise.convert("RGB").save(folder / "images" / f"{number}.jpg", quality=90)
    start = time.process_time()
    evaluate_predictions(source, folder / "report")
    written = time.process_time() - start
    page = folder / "report" / "report.html"
    told = {
        "images": images,
        "cpu_seconds_to_write": round(written, 1),
        "megabytes": round(page.stat().st_size / 1e6, 1),
    }
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is not None:
        loads = [seconds_to_load(chromium, page, folder / f"profile{k}") for k in range(3)]
        told["seconds_to_load"] = round(statistics.median(loads), 2)
    return told


def seconds_to_load(chromium: str, page: Path, profile: Path) -> float:
    """Return the seconds from the start of the navigation to the end of the load event."""
    timed = page.with_name("timed.html")
    script = (
        "<script>addEventListener('load', () => setTimeout(() => { const [entry] = "
        "performance.getEntriesByType('navigation'); "
        "document.title = 'loaded ' + entry.loadEventEnd; }))</script></body>"
    )
    timed.write_text(page.read_text().replace("</body>", script))
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom")
    command = [chromium, *quiet, f"--user-data-dir={profile}", timed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>loaded ([\d.]+)</title>", done.stdout)
    if found is None:
        raise RuntimeError("the page did not say when it had loaded")
    return float(found.group(1)) / 1000


def run_crowded(folder: Path, count: int) -> None:
    """Evaluate one picture whose boxes all overlap, and print CPU seconds and peak megabytes."""
    from coordexp.evaluation.evaluate import evaluate_predictions  # noqa: PLC0415

    gt = [{"desc": "cat", "bbox_2d": [1 + k / count, 1, 50, 50]} for k in range(count)]
    pred = [{**item, "score": 1 - k / count / 2} for k, item in enumerate(gt)]
    row = {"image": "a.png", "width": SIZE[0], "height": SIZE[1], "gt": gt, "pred": pred}
    (folder / "crowded.jsonl").write_text(json.dumps(row) + "\n")
    start = time.process_time()
    metrics = evaluate_predictions(folder / "crowded.jsonl", folder / "out")
    told = {
        "true_boxes": count,
        "predictions": count,
        "cpu_seconds": round(time.process_time() - start, 1),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "AP": metrics["bbox"]["AP"],
    }
    print(json.dumps(told))


def measure_crowded(folder: Path, count: int) -> dict[str, Any]:
    """Return what a picture of so many boxes costs, in a process of its own."""
    command = [sys.executable, __file__, "--one", f"crowded {count}", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_scores(path: Path) -> dict[str, Any]:
    """Return what the scores of a predictions file are worth."""
    from coordexp.evaluation.measure.calibration import fit_calibration  # noqa: PLC0415
    from coordexp.evaluation.measure.instances import collect_instances  # noqa: PLC0415
    from coordexp.evaluation.measure.matching import match  # noqa: PLC0415
    from coordexp.evaluation.measure.predictions import read_predictions  # noqa: PLC0415
    from coordexp.evaluation.measure.scores import ranked_figures, score_health  # noqa: PLC0415

    rows = read_predictions(path)
    scored = collect_instances(rows, matching="normalized", unknown="bucket")
    constant = scored.with_scores(np.ones(len(scored.predicted)))
    told: dict[str, Any] = {"images": len(rows), "predictions": len(scored.predicted)}
    for name, instances in (("scores", scored), ("constant_scores", constant)):
        result = ranked_figures(instances, "bbox", score_health(instances.predicted), seed=0)
        sd = None if result.sd is None else result.sd.AP
        told[name] = {"AP": result.figures.overall.AP, "sd": sd}
    images = [row.image for row in rows]
    for method in ("isotonic", "logistic"):
        fitted = fit_calibration(match(scored), images, method, seed=0, source=path)
        kept = ("fitted_predictions", "held_out_predictions")
        kept += ("held_out_ece_before", "held_out_ece_after")
        told[method] = {name: fitted.provenance[name] for name in kept}
    return told


def main() -> None:
    """Measure what was asked for and write it beside what was measured before."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--crowded", action="store_true")
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one[0], Path(arguments.one[1]))
        return
    found: dict[str, Any] = {"machine": processor(), "cores": os.cpu_count()}
    found["load_at_start"] = os.getloadavg()[0]
    images, boxes, rounds, pictures = (
        (300, 2000, 1, 50) if arguments.quick else (5000, 36000, 5, 500)
    )
    with tempfile.TemporaryDirectory() as name:
        if arguments.predictions:
            found["scores"] = measure_scores(arguments.predictions)
        elif arguments.crowded:
            found["crowded"] = measure_crowded(Path(name), CROWD)
        else:
            for part in ("time", "report"):
                (Path(name) / part).mkdir()
            found["time"] = measure_time(Path(name) / "time", images, boxes, rounds)
            found["report"] = measure_report(Path(name) / "report", pictures)
            found["crowded"] = measure_crowded(Path(name), 500 if arguments.quick else CROWD)
    print(json.dumps(found, indent=2))
    if arguments.quick:
        return
    path = results_path("evaluation")
    write_results(path, read_results(path) | found)


if __name__ == "__main__":
    main()
