"""The numbers that an annotation file gives its classes, kept beside the records made from it.

Records name things in words. Who compares results with the annotation file needs its numbers again,
those of classes that happen to be on no picture too; so they lie in a small file of their own,
`val.categories.json` beside `val.jsonl`::

    {"person": 1, "bicycle": 2, "toothbrush": 90}

`data convert` writes it from COCO and LVIS, `data prepare` carries it along, `predict --coco` uses
it. One for records of your own can be written by hand.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from coordexp.errors import InputError
from coordexp.files import write_text


def category_ids_path(records: Path) -> Path:
    """Return where the numbers of a file of records are kept.

    Example:
        >>> category_ids_path(Path("coco/val.coord.jsonl")).as_posix()
        'coco/val.coord.categories.json'
    """
    return records.with_suffix(".categories.json")


def save_category_ids(records: Path, ids: Mapping[str, int]) -> None:
    """Write the numbers beside a file of records; where there are none, an older file goes."""
    path = category_ids_path(records)
    if ids:
        write_text(path, json.dumps(dict(ids), ensure_ascii=False, indent=1) + "\n")
    else:
        path.unlink(missing_ok=True)


def load_category_ids(records: Path) -> dict[str, int]:
    """Return the numbers that lie beside a file of records; empty where there are none.

    Raises:
        InputError: If the file cannot be read, or two classes share a number.
    """
    path = category_ids_path(records)
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or not all(type(number) is int for number in found.values()):
        raise InputError(f"{path}: expected class names with whole numbers, such as {{'cat': 17}}")
    if len(set(found.values())) != len(found):
        raise InputError(f"{path}: two classes have the same number")
    return found
