"""Predictions as COCO results, for tools that read those."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS
from coordexp.data.files.category_ids import category_ids_path, load_category_ids
from coordexp.data.files.jsonl import read_rows
from coordexp.files import whole_file
from coordexp.inference.run.inputs import load_source

logger = logging.getLogger(__name__)

_SHOWN = 3


def write_coco_results(
    predictions: Path,
    data: Path,
    indices: Sequence[int],
    out: Path,
    alphabet: CoordAlphabet,
    classes: Sequence[str] = (),
) -> None:
    """Write a list of `image_id, category_id, bbox, score`, and a polygon's `segmentation`.

    Points are left out, and a line tells how many.

    `image_id` is the record's `metadata.image_id`, which `data convert` keeps from COCO, or else
    the place of the record in the data, from 1. `category_id` is the annotation file's own where
    `data.files.category_ids` knows it, and a line tells of descs that it does not know; else
    it numbers the classes that the model was trained on, from 1. Behind either come all other
    descs, true and predicted, by name. `file_name` and `category_name` stand beside them.
    Predictions are read three times, and no more than a line of them is in memory.

    Args:
        predictions: JSONL of predictions.
        data: What they were made from.
        indices: Of each prediction, the place of its record in the data.
        out: JSON to write.
        alphabet: Of the records.
        classes: What the model was trained on, in the order of their numbers.

    Raises:
        InputError: If the numbers beside the data cannot be used.
    """
    known = {} if data.is_dir() else load_category_ids(data)
    source = load_source(data, alphabet)
    first = known or {name: number for number, name in enumerate(classes, start=1)}
    descs = (item["desc"] for row in _rows(predictions) for item in row["gt"] + row["pred"])
    ids = _category_ids(first, descs)
    if known and (new := [name for name in ids if name not in known]):
        told = ", ".join(map(repr, new[:_SHOWN])) + (", ..." if len(new) > _SHOWN else "")
        logger.warning(
            "%s: %d descs are no class of %s (%s) and are numbered from %d on",
            out,
            len(new),
            category_ids_path(data).name,
            told,
            ids[new[0]],
        )
    results = (
        _result(row, item, source[index].metadata.get("image_id", index + 1), ids[item["desc"]])
        for row, index in zip(_rows(predictions), indices, strict=True)
        for item in row["pred"]
        if not _is_point(item)
    )
    with whole_file(out) as file:
        file.write(b"[")
        for place, result in enumerate(results):
            file.write(f"{', ' if place else ''}{json.dumps(result)}".encode())
        file.write(b"]\n")
    if points := sum(_is_point(item) for row in _rows(predictions) for item in row["pred"]):
        logger.warning("%s: %d points are left out: COCO's results are boxes", out, points)


def _rows(predictions: Path) -> Iterator[Any]:
    return (row for _, row in read_rows(predictions))


def _category_ids(known: Mapping[str, int], descs: Iterable[str]) -> dict[str, int]:
    """Return the known numbers and, behind them, one for every other desc, by name."""
    first = max(known.values(), default=0) + 1
    new = sorted(set(descs) - known.keys())
    return {**known, **{name: number for number, name in enumerate(new, start=first)}}


def _is_point(item: dict[str, Any]) -> bool:
    return any(kind in item for kind, rules in KINDS.items() if rules.form == "place")


def _result(
    row: dict[str, Any], item: dict[str, Any], image_id: object, category_id: int
) -> dict[str, object]:
    values = next(item[kind] for kind in GEOMETRY_KINDS if kind in item)
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
