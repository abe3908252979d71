"""Figures from converted records are those of faster-coco-eval on the annotation file itself."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask
from PIL import Image

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record, object_to_json
from coordexp.data.convert.conversion import Conversion, convert_dataset
from coordexp.data.convert.objects.mapping import GeometryChoice, KeepRules
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.prepare.options import PrepareOptions
from coordexp.data.prepare.prepare import prepare_file
from coordexp.evaluation.evaluate import compute_figures

WIDTH, HEIGHT = 320, 240
CLASSES = ("cat", "dog", "traffic light")
Row = dict[str, Any]
NAMES = {
    "AP": "AP_all",
    "AP50": "AP_50",
    "AP75": "AP_75",
    "APs": "AP_small",
    "APm": "AP_medium",
    "APl": "AP_large",
    "AR1": "AR_all",
    "AR10": "AR_second",
    "AR100": "AR_third",
}


def random_outline(random: np.random.Generator) -> tuple[list[float], list[float]]:
    """Return x, y, width, height and a triangle or a square in it, of any of COCO's sizes."""
    width, height = np.exp(random.uniform(np.log(8), np.log(200), 2))
    x, y = random.uniform(0, [WIDTH - width, HEIGHT - height])
    x, y, width, height = (round(float(value), 2) for value in (x, y, width, height))
    if random.random() < 0.5:
        return [x, y, width, height], [x, y, x + width, y + height / 2, x, y + height]
    x2, y2 = x + width, y + height
    return [x, y, width, height], [x, y, x2, y, x2, y2, x, y2]


def crowd_mask(random: np.random.Generator) -> tuple[Row, list[float]]:
    """Return a mask in several pieces, some of them with holes, and its box."""
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for _ in range(3):
        x, y = random.integers(0, [WIDTH - 90, HEIGHT - 90])
        width, height = random.integers(20, 90, 2)
        pixels[y : y + height, x : x + width] = 1
        pixels[y + 6 : y + 12, x + 5 : x + 11] = 0
    encoded = mask.encode(np.asfortranarray(pixels))
    box = [float(value) for value in mask.toBbox(encoded)]
    counts = encoded["counts"]
    text = counts.decode() if isinstance(counts, bytes) else counts
    return {"size": [HEIGHT, WIDTH], "counts": text}, box


def random_document(seed: int, *, images: int = 8) -> Row:
    """Return a COCO file with crowds, ignored objects, and areas unlike those of the boxes."""
    random = np.random.default_rng(seed)
    annotations: list[Row] = []
    for image in range(1, images + 1):
        for _ in range(random.integers(1, 9)):
            box, outline = random_outline(random)
            row: Row = {
                "image_id": image,
                "category_id": int(random.integers(1, 4)) * 10,
                "bbox": box,
                "segmentation": [outline],
                "iscrowd": 0,
                "area": round(box[2] * box[3] * float(random.uniform(0.2, 1)), 3),
            }
            if random.random() < 0.2:
                row["segmentation"], row["bbox"] = crowd_mask(random)
                row |= {"iscrowd": 1, "area": float(random.uniform(100, 20_000))}
            if random.random() < 0.2:
                row["ignore"] = 1
            annotations.append({"id": len(annotations) + 1, **row})
    return {
        "images": [
            {"id": k, "file_name": f"{k}.png", "width": WIDTH, "height": HEIGHT}
            for k in range(1, images + 1)
        ],
        "categories": [{"id": 10 * k, "name": name} for k, name in enumerate(CLASSES, start=1)],
        "annotations": annotations,
    }


def write_dataset(folder: Path, document: Row) -> Path:
    for row in document["images"]:
        Image.new("RGB", (row["width"], row["height"])).save(folder / row["file_name"])
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    return path


def shaken(document: Row, seed: int) -> list[Row]:
    """Return COCO results: the annotations shaken, forgotten, repeated and renamed."""
    random = np.random.default_rng(seed)
    scores: Iterator[int] = iter(random.permutation(100_000).tolist())
    categories = [row["id"] for row in document["categories"]]
    results = []
    for row in document["annotations"]:
        for _ in range(random.integers(0, 4)):
            x, y, width, height = row["bbox"]
            left, right = np.sort(np.clip(x + width * random.normal((0, 1), 0.04), 0, WIDTH))
            top, bottom = np.sort(np.clip(y + height * random.normal((0, 1), 0.04), 0, HEIGHT))
            if min(right - left, bottom - top) < 1:
                continue
            category = row["category_id"] if random.random() < 0.85 else random.choice(categories)
            outline = [x, y, x + width, y, x + width, y + height, x, y + height]
            if isinstance(row["segmentation"], list):
                outline = row["segmentation"][0]
            points = np.array(outline).reshape(-1, 2)
            corner = np.array([left, top])
            grown = corner + (points - [x, y]) / [width, height] * [right - left, bottom - top]
            results.append(
                {
                    "image_id": row["image_id"],
                    "category_id": int(category),
                    "bbox": [float(value) for value in (left, top, right - left, bottom - top)],
                    "segmentation": [np.clip(grown, 0, [WIDTH, HEIGHT]).ravel().tolist()],
                    "score": next(scores) / 100_000,
                }
            )
    return results


def official(path: Path, results: list[Row], kind: str, *, lvis: bool = False) -> dict[str, float]:
    truth = COCO(str(path))
    rows = [dict(row) for row in results]
    for row in rows:
        outline = row.pop("segmentation")
        if kind == "segm":  # COCO takes the sizes of predictions from the box where there is one
            del row["bbox"]
            row["segmentation"] = mask.merge(mask.frPyObjects(outline, HEIGHT, WIDTH))
    run = COCOeval_faster(
        truth, truth.loadRes(rows), kind, lvis_style=lvis, print_function=lambda _: None
    )
    if lvis:
        run.params.maxDets = [300]
    run.run()
    return {name: float(value) for name, value in run.stats_as_dict.items()}


def measured(figures: dict[str, float]) -> dict[str, float | None]:
    """Return figures without COCO's -1 for what there is nothing of."""
    return {name: None if value == -1 else value for name, value in figures.items()}


def write_answers(path: Path, records: list[Record], results: list[Row], document: Row) -> Path:
    """Write the results as predictions beside the truth of the records."""
    names = {row["id"]: row["name"].replace("_", " ") for row in document["categories"]}
    rows = []
    for record in records:
        own = [row for row in results if row["image_id"] == record.metadata["image_id"]]
        truth = []
        for item in record.objects:
            row = object_to_json(item, SPEC_ALPHABET)
            if item.exact is not None:
                row[item.geometry.kind] = row.pop(f"{item.geometry.kind}_px")
            truth.append(row)
        poly = any(item.geometry.kind == "poly" for item in record.objects)
        line: Row = {
            "root": ".",
            "image": record.image,
            "width": record.width,
            "height": record.height,
            "gt": truth,
            "pred": [_predicted(row, names, poly=poly) for row in own],
            "raw_text": "",
            "parse": {"status": "ok", "dropped": []},
            "finish_reason": "eos",
        }
        if record.federated is not None:
            line["federated"] = {
                "absent": list(record.federated.absent),
                "not_exhaustive": list(record.federated.not_exhaustive),
                "frequency": dict(record.federated.frequency),
            }
        rows.append(line)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _predicted(row: Row, names: dict[int, str], *, poly: bool) -> Row:
    x, y, width, height = row["bbox"]
    where = {"poly": row["segmentation"][0]} if poly else {"bbox_2d": [x, y, x + width, y + height]}
    return {"desc": names[row["category_id"]], **where, "score": row["score"]}


def convert(src: Path, out: Path, geometry: GeometryChoice) -> list[Record]:
    convert_dataset(Conversion(src, out, KeepRules(geometry=geometry)))
    return [*RecordFile(out, SPEC_ALPHABET)]


@pytest.mark.parametrize("seed", range(4))
def test_boxes_of_a_coco_file_with_crowds_and_areas(tmp_path: Path, seed: int) -> None:
    document = random_document(seed)
    path = write_dataset(tmp_path, document)
    convert(path, tmp_path / "r.jsonl", "bbox")
    prepare_file(tmp_path / "r.jsonl", tmp_path / "t.jsonl", PrepareOptions(alphabet=SPEC_ALPHABET))
    records = [*RecordFile(tmp_path / "t.jsonl", SPEC_ALPHABET)]
    results = shaken(document, seed)
    predictions = write_answers(tmp_path / "p.jsonl", records, results, document)
    figures = compute_figures(predictions).metrics["bbox"]
    expected = official(path, results, "bbox")
    assert expected["AP_all"] > 0.1
    assert {name: figures[name] for name in NAMES} == pytest.approx(
        measured({name: expected[key] for name, key in NAMES.items()}), abs=1e-6
    )


@pytest.mark.parametrize("seed", range(4))
def test_masks_of_a_coco_file_with_crowds_in_pieces_and_with_holes(
    tmp_path: Path, seed: int
) -> None:
    document = random_document(seed)
    path = write_dataset(tmp_path, document)
    records = convert(path, tmp_path / "r.jsonl", "prefer-poly")
    results = shaken(document, seed)
    predictions = write_answers(tmp_path / "p.jsonl", records, results, document)
    figures = compute_figures(predictions).metrics["segm"]
    expected = official(path, results, "segm")
    assert expected["AP_all"] > 0.1
    assert {name: figures[name] for name in NAMES} == pytest.approx(
        measured({name: expected[key] for name, key in NAMES.items()}), abs=1e-6
    )


def lvis_document(seed: int) -> Row:
    """Return an LVIS file: six classes, of which each image was searched for a few."""
    random = np.random.default_rng(seed)
    document = random_document(seed)
    ids = [10, 20, 30, 40, 50, 60]
    document["categories"] = [
        {"id": k, "name": f"thing_({k})", "synset": f"thing.n.{k}", "frequency": "rcf"[k // 10 % 3]}
        for k in ids
    ]
    for row in document["annotations"]:
        row["category_id"] = int(random.choice(ids))
        for key in ("iscrowd", "ignore"):
            row.pop(key, None)
    document["annotations"] = [
        row for row in document["annotations"] if isinstance(row["segmentation"], list)
    ]
    for image in document["images"]:
        there = {
            row["category_id"] for row in document["annotations"] if row["image_id"] == image["id"]
        }
        others = [k for k in ids if k not in there]
        image["neg_category_ids"] = [k for k in others if random.random() < 0.4]
        image["not_exhaustive_category_ids"] = [k for k in sorted(there) if random.random() < 0.4]
    return document


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_an_lvis_file_has_lvis_figures(tmp_path: Path, seed: int, kind: str) -> None:
    document = lvis_document(seed)
    path = write_dataset(tmp_path, document)
    geometry: GeometryChoice = "poly" if kind == "segm" else "bbox"
    records = convert(path, tmp_path / "r.jsonl", geometry)
    results = shaken(document, seed)
    predictions = write_answers(tmp_path / "p.jsonl", records, results, document)
    figures = compute_figures(predictions).metrics[kind]
    expected = official(path, results, kind, lvis=True)
    names = {name: NAMES[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
    names |= {name: name for name in ("APr", "APc", "APf")}
    assert expected["AP_all"] > 0.1
    assert expected["AP_all"] != pytest.approx(official(path, results, kind)["AP_all"], abs=1e-3)
    assert {name: figures[name] for name in names} == pytest.approx(
        measured({name: expected[key] for name, key in names.items()}), abs=1e-6
    )
