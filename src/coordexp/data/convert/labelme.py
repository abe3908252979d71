"""labelme: one JSON file of shapes beside each picture.

Rectangles have any two opposite corners. Polygons of one label and `group_id` are pieces of one
thing. A circle becomes its box. Lines and line strips stay lines. A point has no extent and is
dropped, and so is what labelme itself names `__ignore__`. Of painted
masks only the box is read.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from coordexp.data.convert.documents import load_json
from coordexp.data.convert.pictures import PICTURE_SUFFIXES
from coordexp.data.convert.report import Tally
from coordexp.data.convert.source import (
    Dataset,
    Query,
    Shape,
    SourcePicture,
    UnusableError,
    finite_numbers,
)
from coordexp.data.geometry import Box, bounding_box, shown
from coordexp.errors import InputError

Row = Mapping[str, object]

_IGNORED = "__ignore__"
_LEAST_POINTS = {"polygon": 3, "line": 2, "linestrip": 2, "rectangle": 2, "circle": 2, "mask": 2}


def is_labelme(document: object) -> bool:
    """Return whether a JSON document is one of labelme."""
    return isinstance(document, dict) and isinstance(document.get("shapes"), list)


def read_labelme(src: Path, query: Query, tally: Tally) -> Dataset:
    """Return the pictures of a labelme file or of all of them below a folder.

    Other JSON files in the folder are passed over.

    Raises:
        InputError: If there is none, or a file is no JSON.
    """
    home = src.parent if src.is_file() else src
    if query.split is not None:
        src = home = home / query.split
    files = [src] if src.is_file() else sorted(src.rglob("*.json"))
    if not files:
        raise InputError(f"{src}: there are no JSON files in it")
    root = query.images or home

    def pictures() -> Iterator[SourcePicture]:
        for file in files:
            document = load_json(file)
            if isinstance(document, dict) and is_labelme(document):
                yield _picture(file, document, root, tally)

    return Dataset(root=root, pictures=pictures())


def _picture(file: Path, document: Row, root: Path, tally: Tally) -> SourcePicture:
    name = document.get("imagePath")
    by_stem = (file.stem + suffix for suffix in sorted(PICTURE_SUFFIXES))
    return SourcePicture(
        names=(*([name] if isinstance(name, str) else []), *by_stem),
        folders=(file.parent, root),
        place=str(file),
        shapes=tuple(_shapes(file, document, tally)),
        width=document.get("imageWidth"),
        height=document.get("imageHeight"),
    )


def _shapes(file: Path, document: Row, tally: Tally) -> Iterator[Shape]:
    groups: dict[tuple[str, object], list[Shape]] = {}
    for at, row in enumerate(_listed(document.get("shapes"))):
        place = f"{file}: shapes[{at}]"
        try:
            shape = _shape(row, place)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place, asked=error.asked)
            continue
        tally.classes.add(shape.desc)
        group = row.get("group_id") if isinstance(row, dict) and shape.outlines else None
        key = (shape.desc, at if group is None else f"group {group}")
        groups.setdefault(key, []).append(shape)
    for parts in groups.values():
        outlines = tuple(ring for part in parts for ring in part.outlines)
        yield replace(parts[0], outlines=outlines)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _shape(row: object, place: str) -> Shape:
    if not isinstance(row, dict) or not isinstance(row.get("label"), str):
        raise UnusableError("a shape without a label")
    desc = row["label"]
    if desc == _IGNORED:
        raise UnusableError("labelled __ignore__", asked=True)
    kind = row.get("shape_type") or "polygon"  # old files have no type
    if not isinstance(kind, str) or kind not in _LEAST_POINTS:
        raise UnusableError(f"a shape of type {shown(kind)}, which has no extent")
    values = _points(row.get("points"), least=_LEAST_POINTS[kind])
    if kind == "polygon":
        return Shape(desc=desc, place=place, outlines=(values,))
    if kind in ("line", "linestrip"):
        return Shape(desc=desc, place=place, line=values)
    return Shape(desc=desc, place=place, box=_two_points_to_box(kind, values))


def _points(points: object, *, least: int) -> tuple[float, ...]:
    if not isinstance(points, list):
        raise UnusableError("coordinates that are no list of numbers")
    pairs = [finite_numbers(point) for point in points]
    if any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004 - x and y
        raise UnusableError("a point that is not x and y")
    if len(pairs) < least:
        raise UnusableError("too few coordinates")
    return tuple(value for pair in pairs for value in pair)


def _two_points_to_box(kind: str, values: tuple[float, ...]) -> Box:
    x1, y1, x2, y2 = bounding_box(values)
    if kind == "circle":  # its centre and a point on it
        cx, cy = values[:2]
        radius = math.hypot(values[2] - cx, values[3] - cy)
        return cx - radius, cy - radius, cx + radius, cy + radius
    # A mask names its first and its last pixel.
    return (x1, y1, x2 + 1, y2 + 1) if kind == "mask" else (x1, y1, x2, y2)
