"""CVAT for images: one XML file of all pictures, with their shapes.

Edges are in pixels and count from 0. A turned box is its outline, an ellipse its box, and of a mask
only the box is read. Polygons of one label and `group_id` are pieces of one thing. Points, cuboids
and skeletons have no geometry here, and a tag is said of the whole picture: they are dropped. CVAT
for video has tracks in place of pictures, and is refused.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from coordexp.data.contract.geometry import Box
from coordexp.data.convert.reading.documents import load_xml, xml_root_name
from coordexp.data.convert.reading.folders import files_below, is_of_split
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import (
    Dataset,
    Shape,
    SourcePicture,
    UnusableError,
    corners_to_box,
    finite_numbers,
)
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError

ROOT = "annotations"
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_UNREAD = {
    "points": "points, which have no extent",
    "cuboid": "a cuboid",
    "skeleton": "a skeleton",
    "tag": "a tag, which is said of the whole picture",
}
_WITHOUT_SPLIT = "default"


def _recognises(source: Source) -> bool:
    return xml_root_name(source.path) == ROOT


def _files(folder: Path, split: str | None) -> list[Path]:
    found = [path for path in files_below(folder, (".xml",)) if xml_root_name(path) == ROOT]
    # A file that is not named after its split may name one for each picture.
    return [path for path in found if is_of_split(path, folder, split)] or found


def _read(source: Source, tally: Tally) -> Dataset:
    """Return the pictures of a file.

    Raises:
        InputError: If it is no XML, of videos, or has no picture of the split.
    """
    path, query = source.path, source.query
    top = load_xml(path)
    if top.tag != ROOT:
        raise InputError(f"{path}: expected CVAT's <{ROOT}>, got <{top.tag}>")
    if top.find("track") is not None:
        raise InputError(
            f"{path}: holds tracks of a video; export the task from CVAT as 'CVAT for images 1.1'"
        )
    folder = query.images or path.parent
    folders = tuple(dict.fromkeys((folder, folder / "images", folder.parent / "images")))
    images = list(_of_split(top, query.split, path))

    def pictures() -> Iterator[SourcePicture]:
        for at, image in images:
            yield _picture(image, f"{path}: image[{at}]", folders, tally)

    return Dataset(root=folder, pictures=pictures())


def _of_split(top: Element, split: str | None, path: Path) -> Iterator[tuple[int, Element]]:
    images = list(enumerate(top.findall("image")))
    subsets = {image.get("subset", _WITHOUT_SPLIT) for _, image in images} - {_WITHOUT_SPLIT}
    if split is None or not subsets:
        yield from images
        return
    wanted = {name for name in subsets if is_of_split(Path(name), Path(), split)}
    if not wanted:
        raise InputError(f"{path}: no subset {split!r}; there are {', '.join(sorted(subsets))}")
    for at, image in images:
        if image.get("subset") in wanted:
            yield at, image


def _picture(image: Element, place: str, folders: tuple[Path, ...], tally: Tally) -> SourcePicture:
    name = (image.get("name") or "").strip()
    return SourcePicture(
        names=(name,) if name else (),
        folders=folders,
        place=place,
        shapes=tuple(_shapes(image, place, tally)),
        width=_size(image.get("width")),
        height=_size(image.get("height")),
    )


def _size(text: str | None) -> object:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _shapes(image: Element, place: str, tally: Tally) -> Iterator[Shape]:
    """Yield the shapes of a picture; pieces of one thing as one."""
    things: dict[object, Shape] = {}
    for at, element in enumerate(image):
        where = f"{place}.{element.tag}[{at}]"
        try:
            shape = _shape(element, where)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, where)
            continue
        tally.classes.add(shape.desc)
        group = element.get("group_id", "0") if element.tag == "polygon" else "0"
        key = at if group == "0" else (shape.desc, group)
        known = things.get(key)
        if known is not None:
            shape = replace(known, outlines=known.outlines + shape.outlines)
        things[key] = shape
    yield from things.values()


def _shape(element: Element, place: str) -> Shape:
    kind = element.tag
    if kind in _UNREAD:
        raise UnusableError(_UNREAD[kind])
    if kind not in _SHAPES:
        raise UnusableError(f"a <{kind}>, which CVAT for images does not have")
    return _SHAPES[kind](element, Shape((element.get("label") or "").strip(), place))


def _box(element: Element, shape: Shape) -> Shape:
    box = corners_to_box(_numbers(element, _CORNERS))
    turn = _number(element.get("rotation", "0"))
    return replace(shape, outlines=(_turned(box, turn),)) if turn % 360 else replace(shape, box=box)


def _mask(element: Element, shape: Shape) -> Shape:
    x, y, width, height = _numbers(element, ("left", "top", "width", "height"))
    return replace(shape, box=corners_to_box((x, y, x + width, y + height)))


_SHAPES: Mapping[str, Callable[[Element, Shape], Shape]] = {
    "box": _box,
    "mask": _mask,
    "ellipse": lambda element, shape: replace(shape, box=_ellipse_box(element)),
    "polygon": lambda element, shape: replace(shape, outlines=(_points(element, 3),)),
    "polyline": lambda element, shape: replace(shape, line=_points(element, 2)),
}


def _turned(box: Box, degrees: float) -> tuple[float, ...]:
    """Return the corners of a box that is turned clockwise around its centre."""
    x1, y1, x2, y2 = box
    cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    return tuple(
        value
        for x, y in corners
        for value in (
            cx + (x - cx) * cos - (y - cy) * sin,
            cy + (x - cx) * sin + (y - cy) * cos,
        )
    )


def _ellipse_box(element: Element) -> Box:
    cx, cy, rx, ry = _numbers(element, ("cx", "cy", "rx", "ry"))
    turn = math.radians(_number(element.get("rotation", "0")))
    wide = math.hypot(rx * math.cos(turn), ry * math.sin(turn))
    high = math.hypot(rx * math.sin(turn), ry * math.cos(turn))
    return corners_to_box((cx - wide, cy - high, cx + wide, cy + high))


def _points(element: Element, least: int) -> tuple[float, ...]:
    pairs = [pair for pair in re.split(r"[;\s]+", element.get("points", "").strip()) if pair]
    split = [pair.split(",") for pair in pairs]
    if any(len(pair) != 2 for pair in split):  # noqa: PLR2004 - x and y
        raise UnusableError("points that are no pairs of x and y")
    if len(split) < least:
        raise UnusableError("too few coordinates")
    return finite_numbers([_number(text) for pair in split for text in pair])


def _numbers(element: Element, keys: tuple[str, ...]) -> tuple[float, ...]:
    return finite_numbers([_number(element.get(key, "")) for key in keys])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UnusableError("coordinates that are no finite numbers") from None


FORMAT = Format(
    name="cvat",
    title="CVAT",
    suffixes=(".xml",),
    recognises=_recognises,
    read=_read,
    files=_files,
    expects=f"CVAT's <{ROOT}>",
)
