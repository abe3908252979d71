"""LVIS: COCO's form with 1,203 classes, of which each picture was searched for a few.

Class names are written with spaces, `alarm clock` for `alarm_clock`. Which classes a picture surely
has not, and which were not marked exhaustively, is kept in `metadata`, for a fair evaluation needs
it. Pictures are named by their `coco_url` where there is no `file_name`.
"""

from collections.abc import Mapping
from pathlib import Path

from coordexp.data.convert.coco import Described, Row, category_names, read_instances
from coordexp.data.convert.report import Tally
from coordexp.data.convert.source import Dataset, Query

_KEPT = {
    "neg_category_ids": "absent_classes",
    "not_exhaustive_category_ids": "not_exhaustive_classes",
}


def is_lvis(document: Row) -> bool:
    """Return whether a document in COCO's form is one of LVIS."""
    images, categories = document.get("images"), document.get("categories")
    rows = [rows[0] for rows in (images, categories) if isinstance(rows, list) and rows]
    marks = {"neg_category_ids", "not_exhaustive_category_ids", "synset"}
    return any(isinstance(row, dict) and marks & row.keys() for row in rows)


def read_lvis(path: Path, document: Row, query: Query, tally: Tally) -> Dataset:
    """Return the pictures of an LVIS file.

    Raises:
        InputError: If one of its three lists is missing, or its pictures are in no usual place.
    """
    given = category_names(path, document)
    names = {number: name.replace("_", " ") for number, name in given.items()}

    def described(row: Row) -> Described:
        metadata: dict[str, object] = {"image_id": row["id"]}
        for key, kept in _KEPT.items():
            metadata[kept] = _named(row.get(key), names)
        return _file_names(row), metadata

    return read_instances(path, document, query, tally, names=names, described=described)


def _named(numbers: object, names: Mapping[object, str]) -> list[str]:
    listed = numbers if isinstance(numbers, list) else []
    return [names[number] for number in listed if isinstance(number, int) and number in names]


def _file_names(row: Row) -> tuple[str, ...]:
    name, url = row.get("file_name"), row.get("coco_url")
    names = [name] if isinstance(name, str) else []
    if isinstance(url, str):
        parts = url.split("/")
        names += ["/".join(parts[-2:]), parts[-1]]  # train2017/1.jpg, or beside it
    return tuple(names)
