"""Predictions as COCO results, for tools that read those."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.geometry import bounding_box
from coordexp.data.jsonl import read_rows
from coordexp.data.record import Record
from coordexp.files import write_text
from coordexp.inference.source import load_source


def write_coco_results(
    predictions: Path,
    data: Path,
    out: Path,
    alphabet: CoordAlphabet,
    classes: Sequence[str] = (),
) -> None:
    """Write a list of `image_id, category_id, bbox, score`, and a polygon's `segmentation`.

    `image_id` is the record's `metadata.image_id`, which `data convert` keeps from COCO, or else
    the place of the image in the data, from 1. `category_id` numbers the classes that the
    model was trained on, from 1, and behind them all other descs, true and predicted, by name.
    `file_name` and `category_name` stand beside them, for records know neither number: map by name
    where an annotation file has numbers of its own.

    Args:
        predictions: JSONL of predictions.
        data: What they were made from.
        out: JSON to write.
        alphabet: Of the records.
        classes: What the model was trained on, in the order of their numbers.
    """
    ids: dict[str, object] = {}
    source = load_source(data, alphabet)
    for index in range(len(source)):
        record: Record = source[index]
        ids.setdefault(record.image, record.metadata.get("image_id", index + 1))
    rows: list[Any] = [row for _, row in read_rows(predictions)]
    said = {item["desc"] for row in rows for item in [*row["gt"], *row["pred"]]}
    names = [*classes, *sorted(said.difference(classes))]
    categories = {name: number for number, name in enumerate(names, start=1)}
    results = [
        _result(row, item, ids[row["image"]], categories[item["desc"]])
        for row in rows
        for item in row["pred"]
    ]
    write_text(out, json.dumps(results) + "\n")


def _result(
    row: dict[str, Any], item: dict[str, Any], image_id: object, category_id: int
) -> dict[str, object]:
    values = next(item[kind] for kind in ("bbox_2d", "poly", "line") if kind in item)
    x1, y1, x2, y2 = bounding_box(values)
    result: dict[str, object] = {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": item["score"],
        "file_name": row["image"],
        "category_name": item["desc"],
    }
    if "poly" in item:
        result["segmentation"] = [values]
    return result
