"""Measure `coordexp data convert`: CPU time for YOLO's boxes and outlines, and for COCO.

    python benchmarks/convert.py                        a minute of one core
    python benchmarks/convert.py --beside ../old/src    another state of the code takes turns
    python benchmarks/convert.py --quick                the same, small

Each conversion is a process of its own, the command as it is typed, start included. Contenders take
turns, round by round, and the median over the rounds counts; of the ratio it is that of the pairs.
Pictures are small, so that their headers are read and nothing else is. A table goes to standard
output, and with the machine's name to `benchmarks/results/`.
"""

import argparse
import json
import random
import tempfile
from io import BytesIO
from pathlib import Path

from beside import ROUNDS, add_arguments, measure, states
from PIL import Image
from results import processor, results_path, write_results

WIDTH, HEIGHT = 64, 48
CLASSES = 80
BOXES, CORNERS = 7, 24


def write_yolo(folder: Path, count: int, *, outlines: bool) -> Path:
    """Write a dataset of so many pictures."""
    draw = random.Random(0)
    encoded = BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(encoded, "JPEG")
    for name in ("images", "labels"):
        (folder / name / "train").mkdir(parents=True)
    for number in range(count):
        (folder / f"images/train/{number:08}.jpg").write_bytes(encoded.getvalue())
        lines = []
        for _ in range(BOXES):
            values = [draw.uniform(0.3, 0.7), draw.uniform(0.3, 0.7), 0.2, 0.1]
            if outlines:
                values = [draw.uniform(0, 1) for _ in range(2 * CORNERS)]
            lines.append(" ".join([str(draw.randrange(CLASSES)), *(f"{v:.6f}" for v in values)]))
        (folder / f"labels/train/{number:08}.txt").write_text("\n".join(lines) + "\n")
    names = "".join(f"  {number}: class {number}\n" for number in range(CLASSES))
    (folder / "data.yaml").write_text(f"train: images/train\nnames:\n{names}")
    return folder


def write_coco(folder: Path, count: int) -> Path:
    """Write the same in COCO's form, with a box and no outline each."""
    write_yolo(folder / "unused", count, outlines=False)
    (folder / "unused/images/train").rename(folder / "train")
    draw = random.Random(0)
    images = [
        {"id": at, "file_name": f"{at:08}.jpg", "width": WIDTH, "height": HEIGHT}
        for at in range(count)
    ]
    annotations = [
        {
            "id": at,
            "image_id": at // BOXES,
            "category_id": draw.randrange(CLASSES),
            "bbox": [round(draw.uniform(0, 40), 2), round(draw.uniform(0, 30), 2), 9.5, 7.25],
            "iscrowd": 0,
        }
        for at in range(BOXES * count)
    ]
    categories = [{"id": number, "name": f"class {number}"} for number in range(CLASSES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations").mkdir()
    (folder / "annotations/instances_train.json").write_text(json.dumps(document))
    return folder / "annotations/instances_train.json"


def main() -> None:
    """Write the datasets, convert them, and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    given = parser.parse_args()
    count = 20 if given.quick else 4000
    rows = {}
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        cases = (
            ("YOLO, boxes", write_yolo(root / "boxes", count, outlines=False), "bbox"),
            (
                "YOLO, outlines",
                write_yolo(root / "outlines", count // 2, outlines=True),
                "prefer-poly",
            ),
            ("COCO, boxes", write_coco(root / "coco", count), "bbox"),
        )
        for name, src, geometry in cases:
            out = (src if src.is_dir() else src.parents[1]) / "out.jsonl"
            command = ("data", "convert", str(src), str(out), "--geometry", geometry, "--overwrite")
            rows[name] = measure(states(given), command)
            print(name, rows[name], flush=True)
    if not given.quick:
        shape = {"pictures": count, "boxes": BOXES, "corners": CORNERS, "rounds": ROUNDS}
        content = {"machine": processor(), **shape, "beside": given.state, "cpu": rows}
        write_results(results_path("convert"), content)


if __name__ == "__main__":
    main()
