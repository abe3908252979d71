"""COCO's own two files, an annotation file and a list of results, as predictions to evaluate.

Numbers are taken as they are, nothing is clipped, so that box figures are those of COCO's tools on
the same two files; for LVIS, those of its mode. Only boxes are compared: an outline here is one
polygon, COCO's may be many, or a mask.
"""

import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

from coordexp.data.contract.federated import Federated, parse_federated
from coordexp.data.contract.geometry import Geometry, shown
from coordexp.data.contract.marks import MARK_KEYS, parse_marks
from coordexp.data.convert.formats.coco.document import rows_under
from coordexp.data.convert.pictures.finding import likeliest_folder
from coordexp.errors import InputError, RecordError
from coordexp.evaluation.measure.fields import number_of
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scored_objects import ScoredObject

Row = Mapping[str, object]
_SEARCHES = {"neg_category_ids": "absent", "not_exhaustive_category_ids": "not_exhaustive"}
_WORDS = re.compile(r"[^A-Za-z0-9]+")


def read_coco_files(truth: Path, results: Path) -> tuple[Prediction, ...]:
    """Return one prediction for each image of an annotation file, in its order.

    Args:
        truth: COCO's images, annotations and categories.
        results: The list of `image_id, category_id, bbox, score`, or such a file with them as
            annotations.

    Raises:
        InputError: If one of them is not what it should be, or they do not belong together.
    """
    held, found = _load(truth), _load(results)
    document = held if isinstance(held, dict) else {}
    images = rows_under(truth, document, "images")
    categories = rows_under(truth, document, "categories")
    names = _names(truth, categories)
    frequency = {names[_id(row)]: row["frequency"] for row in categories if "frequency" in row}
    known = {_id(row): row for row in images}
    if len(known) < len(images) or None in known:
        raise InputError(f"{truth}: images: expected an id of its own for each image")
    if isinstance(found, dict):
        found = found.get("annotations")
    true = _by_image(truth, "annotations", rows_under(truth, document, "annotations"), names, known)
    predicted = _by_image(
        results,
        "results",
        rows_under(results, {"results": found}, "results"),
        names,
        known,
        scored=True,
    )
    root = os.path.relpath(_picture_folder(truth, images), results.parent)
    return tuple(
        Prediction(
            root=root,
            image=_file_name(truth, at, row),
            width=_size(truth, at, row, "width"),
            height=_size(truth, at, row, "height"),
            truth=tuple(true[_id(row)]),
            predicted=tuple(predicted[_id(row)]),
            raw_text="",
            status=None,
            dropped=(),
            finish_reason=None,
            federated=_federated(truth, at, row, names, frequency),
        )
        for at, row in enumerate(images)
    )


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None


def _id(row: Row, key: str = "id") -> Hashable:
    value = row.get(key)
    return value if isinstance(value, int | float | str) else None


def _names(path: Path, rows: list[Row]) -> dict[Hashable, str]:
    """Return the name of each category; where two are called the same, their numbers go with it."""
    named: list[tuple[Hashable, str]] = []
    for at, row in enumerate(rows):
        name = row.get("name")
        if not isinstance(name, str) or not name.strip() or row.get("id") is None:
            raise InputError(
                f"{path}: categories[{at}]: expected an id and a name, got {shown(row)}"
            )
        named.append((_id(row), name))
    times = Counter(" ".join(name.casefold().split()) for _, name in named)
    return {
        number: name if times[" ".join(name.casefold().split())] == 1 else f"{name} (id {number})"
        for number, name in named
    }


def _by_image(
    path: Path,
    key: str,
    rows: list[Row],
    names: Mapping[Hashable, str],
    images: Mapping[Hashable, Row],
    *,
    scored: bool = False,
) -> Mapping[Hashable, list[ScoredObject]]:
    found: defaultdict[Hashable, list[ScoredObject]] = defaultdict(list)
    for at, row in enumerate(rows):
        image = _id(row, "image_id")
        if image not in images:
            raise InputError(
                f"{path}: {key}[{at}]: image_id {shown(row.get('image_id'))} is no image of the "
                "annotation file; do the two files belong together?"
            )
        try:
            found[image].append(_object(row, names, scored=scored))
        except RecordError as error:
            raise InputError(f"{path}: {key}[{at}]: {error.message}") from None
    return found


def _object(row: Row, names: Mapping[Hashable, str], *, scored: bool) -> ScoredObject:
    number = _id(row, "category_id")
    desc = names.get(number)
    if desc is None:
        raise RecordError(f"category_id {shown(row.get('category_id'))} is no category")
    geometry = Geometry("bbox_2d", _corners(row.get("bbox")), "px")
    if scored:
        return ScoredObject(desc, geometry, number_of(row.get("score"), "score"), {})
    marks = parse_marks({key: row[key] for key in MARK_KEYS if row.get(key) is not None})
    return ScoredObject(desc, geometry, 1.0, {}, marks)


def _corners(values: object) -> tuple[float, ...]:
    """Return x1, y1, x2, y2 of x, y, width, height."""
    if not isinstance(values, list) or len(values) != 4:  # noqa: PLR2004 - a corner and a size
        raise RecordError(f"bbox: expected x, y, width, height, got {shown(values)}")
    x, y, width, height = (number_of(value, "bbox") for value in values)
    if width < 0 or height < 0:
        raise RecordError(f"bbox: expected no negative width or height, got {shown(values)}")
    return x, y, x + width, y + height


def _federated(
    path: Path,
    at: int,
    row: Row,
    names: Mapping[Hashable, str],
    frequency: Mapping[str, object],
) -> Federated | None:
    """Return what an image of LVIS says of its classes, None for one of COCO."""
    if not _SEARCHES.keys() & row.keys():
        return None
    value: dict[str, object] = {"frequency": dict(frequency)}
    for key, kept in _SEARCHES.items():
        numbers = row.get(key, [])
        if not isinstance(numbers, list) or any(number not in names for number in numbers):
            raise InputError(
                f"{path}: images[{at}]: {key}: expected category ids, got {shown(numbers)}"
            )
        value[kept] = [names[number] for number in numbers]
    try:
        return parse_federated({"federated": value})
    except RecordError as error:
        raise InputError(f"{path}: images[{at}]: {error.message}") from None


def _file_name(path: Path, at: int, row: Row) -> str:
    name = row.get("file_name", str(row.get("id")))
    if not isinstance(name, str):
        raise InputError(f"{path}: images[{at}]: file_name: expected text, got {shown(name)}")
    return name.replace("\\", "/")


def _size(path: Path, at: int, row: Row, key: str) -> int:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < math.inf:
        raise InputError(
            f"{path}: images[{at}]: {key}: expected a positive number of pixels, got {shown(value)}"
        )
    return int(value)


def _picture_folder(path: Path, images: list[Row]) -> Path:
    """Return where the pictures are likely to be; the report alone needs them."""
    names = [name for row in images if isinstance(name := row.get("file_name"), str)]
    return likeliest_folder(_places(path), names) or path.parent


def _places(path: Path) -> Iterator[Path]:
    homes = [
        folder for near in (path.parent, path.parent.parent) for folder in (near, near / "images")
    ]
    yield from homes
    for word in filter(None, _WORDS.split(path.stem)):
        yield from (home / word for home in homes)
