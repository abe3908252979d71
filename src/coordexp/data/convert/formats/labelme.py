"""labelme: one JSON file of shapes beside each picture.

Rectangles have any two opposite corners, or all four, which may be turned: then they are outlines.
Polygons of one label and `group_id` are pieces of one thing. A circle becomes its box. Lines and
line strips stay lines. Points stay points, each of several an object of its own, and are dropped
where none are wanted. What labelme itself names `__ignore__` is left out. Of painted masks only the
box is read. A picture inside the file (`imageData`) counts where its file is not there.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from coordexp.data.contract.geometry import Box, bounding_box, shown
from coordexp.data.convert.pictures.lookup import fold_case
from coordexp.data.convert.reading.documents import load_json, read_ends
from coordexp.data.convert.reading.folders import files_below, files_in, is_hidden
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import (
    Dataset,
    EmbeddedPicture,
    Shape,
    SourcePicture,
    UnusableError,
    finite_numbers,
)
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError

Row = Mapping[str, object]

_IGNORED = "__ignore__"
_LEAST_POINTS = {"polygon": 3, "line": 2, "linestrip": 2, "rectangle": 2, "circle": 2, "mask": 2}
_TURNED = ("oriented_rectangle", "rotation")  # of labelme 6, and of X-AnyLabeling
_WITHOUT_EXTENT = ("point", "points")
_ALL_CORNERS = 4
_FEW = 20


def _recognises(source: Source) -> bool:
    path = source.path
    if path.is_file():
        return _looks_like_labelme(path)
    near = islice(files_in(path, ".json"), _FEW)
    below = islice(files_in(path, ".json", pattern="*/*"), _FEW)
    return any(map(_looks_like_labelme, [*near, *below]))


def _looks_like_labelme(path: Path) -> bool:
    ends = read_ends(path)
    return b'"shapes"' in ends and b'"annotations"' not in ends


def _read(source: Source, tally: Tally) -> Dataset:
    """Return the pictures of a labelme file or of all of them below a folder.

    Other JSON files in the folder are passed over.

    Raises:
        InputError: If there is none, or a file is no JSON.
    """
    src, query = source.path, source.query
    home = src.parent if src.is_file() else src
    if query.split is not None:
        src = home = home / query.split
        if not home.is_dir():
            raise InputError(f"{home}: there is no folder of the split {query.split!r}")
    files = [src] if src.is_file() else files_below(src, (".json",))
    if not files:
        raise InputError(f"{src}: there are no JSON files in it")
    root = query.images or home
    folders = {file.parent for file in files}
    beside = {place: _stems(place) for place in folders}

    def pictures() -> Iterator[SourcePicture]:
        for file in files:
            document = load_json(file)
            if _is_labelme(document):
                folders = (file.parent, root / file.parent.relative_to(home), root)
                shapes = tuple(_shapes(file, document, tally, points=query.points))
                picture = _picture(file, document, folders, shapes)
                rivals = beside[file.parent] - {fold_case(file.stem)}
                yield replace(picture, rivals=rivals, embedded=_embedded(file, document, home))

    return Dataset(root=root, pictures=pictures())


def _is_labelme(document: object) -> TypeGuard[Row]:
    return isinstance(document, dict) and isinstance(document.get("shapes"), list)


def _stems(folder: Path) -> frozenset[str]:
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".json")
    return frozenset(fold_case(path.stem) for path in files if not is_hidden(path.name))


def _picture(
    file: Path, document: Row, folders: tuple[Path, ...], shapes: tuple[Shape, ...]
) -> SourcePicture:
    name = document.get("imagePath")
    return SourcePicture(
        names=(name,) if isinstance(name, str) and name.strip() else (),
        folders=folders,
        place=str(file),
        shapes=shapes,
        width=document.get("imageWidth"),
        height=document.get("imageHeight"),
        stem=file.stem,
    )


def _embedded(file: Path, document: Row, home: Path) -> EmbeddedPicture | None:
    data = document.get("imageData")
    if not isinstance(data, str) or not data:
        return None
    name = file.relative_to(home).with_suffix("")
    return EmbeddedPicture(PurePosixPath(name.as_posix()), data)


def _shapes(file: Path, document: Row, tally: Tally, *, points: bool) -> Iterator[Shape]:
    groups: dict[tuple[str, object], list[Shape]] = {}
    for place, row in _rows(file, document, points=points):
        try:
            shape = _shape(row, place, points=points)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place, asked=error.asked)
            continue
        tally.classes.add(shape.desc)
        # A turned rectangle is an outline too, but always the whole of its thing.
        is_piece = isinstance(row, dict) and row.get("shape_type") in (None, "", "polygon")
        group = row.get("group_id") if isinstance(row, dict) and is_piece else None
        key = (shape.desc, place if group is None else f"group {group}")
        groups.setdefault(key, []).append(shape)
    for parts in groups.values():
        outlines = tuple(ring for part in parts for ring in part.outlines)
        yield replace(parts[0], outlines=outlines)


def _rows(file: Path, document: Row, *, points: bool) -> Iterator[tuple[str, object]]:
    """Yield each shape and where it stands; where points are wanted, each of several alone."""
    for at, row in enumerate(_listed(document.get("shapes"))):
        place = f"{file}: shapes[{at}]"
        several = _listed(row.get("points")) if points and _is_pointlike(row) else []
        if isinstance(row, dict) and len(several) > 1:
            for k, point in enumerate(several):
                yield f"{place}: points[{k}]", {**row, "points": [point]}
        else:
            yield place, row


def _is_pointlike(row: object) -> TypeGuard[Row]:
    return isinstance(row, dict) and row.get("shape_type") in _WITHOUT_EXTENT


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _shape(row: object, place: str, *, points: bool) -> Shape:
    if not isinstance(row, dict) or not isinstance(row.get("label"), str):
        raise UnusableError("a shape without a label")
    desc = row["label"]
    if desc == _IGNORED:
        raise UnusableError("labelled __ignore__", asked=True)
    kind = row.get("shape_type") or "polygon"  # old files have no type
    if points and kind in _WITHOUT_EXTENT:
        x, y = _points(row.get("points"), least=1)
        return Shape(desc=desc, place=place, point=(x, y))
    _check_kind(kind)
    values = _points(row.get("points"), least=_LEAST_POINTS.get(kind, _ALL_CORNERS))
    if kind == "polygon" or _is_turned(kind, values):
        return Shape(desc=desc, place=place, outlines=(values,))
    if kind in ("line", "linestrip"):
        return Shape(desc=desc, place=place, line=values)
    return Shape(desc=desc, place=place, box=_two_points_to_box(kind, values))


def _check_kind(kind: object) -> None:
    if isinstance(kind, str) and kind in _WITHOUT_EXTENT:
        raise UnusableError(
            f"a shape of type {shown(kind)}, which has no extent (--points keep writes points)"
        )
    if not isinstance(kind, str) or kind not in (*_LEAST_POINTS, *_TURNED):
        raise UnusableError(f"a shape of type {shown(kind)}, which is not known")


def _is_turned(kind: str, values: tuple[float, ...]) -> bool:
    """Return whether a rectangle of four corners is an outline, and no box.

    Raises:
        UnusableError: If a rectangle has neither two nor four corners.
    """
    if kind not in (*_TURNED, "rectangle") or (kind == "rectangle" and len(values) == 4):  # noqa: PLR2004 - two points
        return False
    if len(values) != 2 * _ALL_CORNERS:
        raise UnusableError("a rectangle of neither two nor four corners")
    x1, y1, x2, y2 = bounding_box(values)
    corners = {*zip(values[0::2], values[1::2], strict=True)}
    return corners != {(x1, y1), (x2, y1), (x2, y2), (x1, y2)}


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


FORMAT = Format(
    name="labelme",
    title="labelme",
    suffixes=(".json",),
    recognises=_recognises,
    read=_read,
    expects="the shapes of labelme",
)
