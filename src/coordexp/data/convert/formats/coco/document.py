"""Documents in COCO's form: lists of images, annotations and categories."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeGuard

from coordexp.data.contract.geometry import shown
from coordexp.data.convert.formats.coco.ids import id_of
from coordexp.data.convert.formats.coco.shape import forget_outlines
from coordexp.data.convert.reading.format import Source
from coordexp.errors import InputError

Row = Mapping[str, object]
Names = Mapping[Hashable, str]

EXPECTED = "the images, annotations and categories of COCO"

# Where every annotation has the key and none has a box.
_OTHER_TASKS = (
    ("segments_info", "is a panoptic file, whose shapes are in pictures of their own"),
    ("caption", "holds captions and no objects"),
)
_LVIS_MARKS = frozenset(("neg_category_ids", "not_exhaustive_category_ids", "synset", "frequency"))


def load_document(source: Source) -> Row:
    """Return the document of a file that holds objects, and no other of COCO's tasks.

    Raises:
        InputError: If it does not.
    """
    path, document = source.path, source.document(forget_outlines)
    if not _has_form(document):
        raise InputError(f"{path}: expected {EXPECTED}")
    rows = rows_under(path, document, "annotations")
    for key, kind in _OTHER_TASKS:
        if rows and all(key in row and "bbox" not in row for row in rows):
            raise InputError(f"{path}: {kind}; convert the instances file of the same pictures")
    return document


def is_coco(source: Source) -> bool:
    """Return whether a file has COCO's form and is none of LVIS."""
    document = source.document(forget_outlines)
    return _has_form(document) and not _is_lvis(document)


def is_lvis(source: Source) -> bool:
    """Return whether a file in COCO's form is one of LVIS."""
    document = source.document(forget_outlines)
    return _has_form(document) and _is_lvis(document)


def _has_form(document: object) -> TypeGuard[Row]:
    return isinstance(document, dict) and {"images", "annotations"} <= document.keys()


def _is_lvis(document: Row) -> bool:
    lists = [document.get(key) for key in ("images", "categories")]
    rows = (row for rows in lists if isinstance(rows, list) for row in rows)
    return any(isinstance(row, dict) and not _LVIS_MARKS.isdisjoint(row) for row in rows)


def rows_under(path: Path, document: Row, key: str) -> list[Row]:
    """Return a list of objects of the document.

    Raises:
        InputError: If it is missing or something else.
    """
    rows = document.get(key)
    if not isinstance(rows, list):
        raise InputError(f"{path}: {key}: expected a list, got {shown(rows)}")
    for at, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"{path}: {key}[{at}]: expected an object, got {shown(row)}")
    return rows


def category_names(path: Path, document: Row) -> dict[Hashable, str]:
    """Return the name of each category id.

    Raises:
        InputError: If an id is there twice, or a category has no name.
    """
    names: dict[Hashable, str] = {}
    for at, row in enumerate(rows_under(path, document, "categories")):
        name, number = row.get("name"), id_of(row.get("id"))
        if not isinstance(name, str) or number is None:
            raise InputError(
                f"{path}: categories[{at}]: expected an id and a name, got {shown(row)}"
            )
        if names.setdefault(number, name) != name:
            raise InputError(
                f"{path}: categories[{at}]: the id {number!r} is that of {names[number]!r} as well"
            )
    return names
