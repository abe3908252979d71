"""COCO's two files give the figures of COCO's own tools."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from coordexp.errors import InputError
from coordexp.evaluation.evaluate import EvaluateOptions, compute_figures, evaluate_predictions
from coordexp.evaluation.measure.coco_files import read_coco_files


def make_files(folder: Path, seed: int) -> tuple[Path, Path]:
    """Write random truth, with crowds and areas of its own, and results that overhang a little."""
    random = np.random.default_rng(seed)
    sizes = {"width": 200, "height": 160}
    numbers = [3, 17, 90]
    images = [{"id": 10 * k + 5, "file_name": f"{k}.png", **sizes} for k in range(8)]
    annotations, results = [], []
    for image in images:
        for _ in range(random.integers(0, 9)):
            box = [*random.uniform(-4, 120, 2), *random.uniform(4, 90, 2)]
            row = {"id": len(annotations) + 1, "image_id": image["id"], "bbox": box}
            row["category_id"] = int(random.choice(numbers))
            row |= {"iscrowd": int(random.random() < 0.2), "area": float(random.uniform(10, 9999))}
            annotations.append(row)
            for _ in range(random.integers(0, 3)):
                shaken = (np.array(box) + random.normal(0, 5, 4)).clip(min=-9).tolist()
                shaken[2:] = [max(size, 1) for size in shaken[2:]]
                kind = int(random.choice(numbers)) if random.random() < 0.2 else row["category_id"]
                found = {"image_id": image["id"], "category_id": kind, "bbox": shaken}
                results.append({**found, "score": float(random.random())})
    categories = [{"id": k, "name": f"c {k}"} for k in numbers]
    document = {"images": images, "annotations": annotations, "categories": categories}
    for name, content in (("gt", document), ("dt", results)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / "gt.json", folder / "dt.json"


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_faster_coco_eval_on_the_same_files(tmp_path: Path, seed: int) -> None:
    gt, dt = make_files(tmp_path, seed)
    ours = compute_figures(dt, EvaluateOptions(coco_gt=gt)).metrics["bbox"]
    with redirect_stdout(StringIO()):
        truth = COCO(str(gt))
        run = COCOeval_faster(truth, truth.loadRes(str(dt)), "bbox")
        run.run()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")
    theirs = dict(zip(names, run.stats.tolist(), strict=False))
    for name, value in theirs.items():
        assert (ours[name] if ours[name] is not None else -1) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_figures_of_lvis_are_those_of_faster_coco_evals_lvis_mode(
    tmp_path: Path, seed: int
) -> None:
    gt, dt = make_files(tmp_path, seed)
    document = json.loads(gt.read_text())
    random = np.random.default_rng(seed)
    for row in document["annotations"]:
        row["iscrowd"] = 0
    for image in document["images"]:
        image["neg_category_ids"] = [k for k in (3, 17, 90) if random.random() < 0.3]
        image["not_exhaustive_category_ids"] = [k for k in (3, 17) if random.random() < 0.3]
    for category, frequency in zip(document["categories"], "rcf", strict=True):
        category["frequency"] = frequency
    gt.write_text(json.dumps(document))
    ours = compute_figures(dt, EvaluateOptions(coco_gt=gt)).metrics["bbox"]
    with redirect_stdout(StringIO()):
        truth = COCO(str(gt))
        run = COCOeval_faster(truth, truth.loadRes(str(dt)), "bbox", lvis_style=True)
        run.params.maxDets = [1, 10, 100, 300]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][..., 0, -1]
    for name, column in (("AP", slice(None)), ("APr", 0), ("APc", 1), ("APf", 2)):
        values = precision[:, :, column]
        found = values[values > -1]
        assert ours[name] == (pytest.approx(found.mean(), abs=1e-12) if found.size else None)


def test_an_evaluation_of_coco_files_writes_everything(tmp_path: Path) -> None:
    gt, dt = make_files(tmp_path, 1)
    metrics = evaluate_predictions(dt, tmp_path / "out", EvaluateOptions(coco_gt=gt))
    assert (metrics["images"], metrics["parse"]["ok_share"]) == (8, None)
    assert metrics["parse"]["unknown"] == 8
    assert (tmp_path / "out" / "report.html").exists()


def test_one_file_under_two_image_ids_is_two_pictures(tmp_path: Path) -> None:
    gt, dt = make_files(tmp_path, 1)
    document = json.loads(gt.read_text())
    for image in document["images"]:
        image["file_name"] = "same.png"
    gt.write_text(json.dumps(document))
    assert len(read_coco_files(gt, dt)) == 8
    assert compute_figures(dt, EvaluateOptions(coco_gt=gt)).metrics["images"] == 8


def test_classes_of_one_name_are_told_apart_by_their_number(tmp_path: Path) -> None:
    gt, dt = make_files(tmp_path, 1)
    document = json.loads(gt.read_text())
    for category in document["categories"]:
        category["name"] = "thing"
    gt.write_text(json.dumps(document))
    named = {item.desc for row in read_coco_files(gt, dt) for item in row.truth}
    assert named <= {"thing (id 3)", "thing (id 17)", "thing (id 90)"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 1}, r"dt\.json: results\[0\]: image_id 1 is no image of the annotation file"),
        ({"category_id": 1}, r"results\[0\]: category_id 1 is no category"),
        ({"bbox": [1, 2, 3]}, r"results\[0\]: bbox: expected x, y, width, height"),
        ({"bbox": [1, 2, -3, 4]}, r"results\[0\]: bbox: expected no negative"),
        ({"score": None}, r"results\[0\]: score: expected a finite number"),
    ],
)
def test_a_result_that_is_wrong_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    gt, dt = make_files(tmp_path, 1)
    results = json.loads(dt.read_text())
    results[0] |= change
    dt.write_text(json.dumps(results))
    with pytest.raises(InputError, match=message):
        read_coco_files(gt, dt)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("images", None, "images: expected a list"),
        ("images", [7], r"images\[0\]: expected an object"),
        ("images", [{"id": 5}, {"id": 5}], "images: expected an id of its own"),
        ("categories", [{"id": 1}], r"categories\[0\]: expected an id and a name"),
        ("annotations", [{"image_id": 5, "category_id": 3}], r"annotations\[0\]: bbox"),
    ],
)
def test_an_annotation_file_that_is_wrong_is_named(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    gt, dt = make_files(tmp_path, 1)
    gt.write_text(json.dumps(json.loads(gt.read_text()) | {key: value}))
    with pytest.raises(InputError, match=rf"gt\.json: {message}"):
        read_coco_files(gt, dt)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    gt, dt = make_files(tmp_path, 1)
    dt.write_text("[")
    with pytest.raises(InputError, match=r"dt\.json: not JSON"):
        read_coco_files(gt, dt)
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        read_coco_files(tmp_path / "none.json", dt)
