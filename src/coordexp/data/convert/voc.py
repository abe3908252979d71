"""Pascal VOC: one XML file for each picture.

VOC counts pixels from 1 and means the first and the last pixel of a thing. As edges, a box is
therefore `xmin - 1, ymin - 1, xmax, ymax`. Tools that count edges from 0 write the same XML; for
their files the corners are taken as they are (`zero_based`). A corner at 0 cannot come from the
first kind, and is noted.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from coordexp.data.convert.documents import load_xml, read_text
from coordexp.data.convert.pictures import PICTURE_SUFFIXES
from coordexp.data.convert.report import Tally
from coordexp.data.convert.source import (
    Dataset,
    Query,
    Shape,
    SourcePicture,
    UnusableError,
    corners_to_box,
)
from coordexp.errors import InputError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(src: Path, query: Query, tally: Tally) -> Dataset:
    """Return the pictures of an XML file or of all XML files below a folder.

    Raises:
        InputError: If there are none, a file is not VOC's, or the split is unknown.
    """
    files = [src] if src.is_file() else sorted(src.rglob("*.xml"))
    home = src.parent if src.is_file() else src
    top = home.parent if home.name == "Annotations" else home
    root = query.images or top
    if query.split is not None:
        wanted = _split_stems(top, query.split)
        files = [file for file in files if file.stem in wanted]
    if not files:
        raise InputError(f"{src}: there are no XML files in it")

    def pictures() -> Iterator[SourcePicture]:
        for file in files:
            yield _picture(file, root, query, tally)

    return Dataset(root=root, pictures=pictures())


def _split_stems(root: Path, split: str) -> set[str]:
    file = root / "ImageSets" / "Main" / f"{split}.txt"
    if not file.is_file():
        there = sorted(path.stem for path in file.parent.glob("*.txt") if "_" not in path.stem)
        known = f"; there are {', '.join(there)}" if there else ""
        raise InputError(f"{file}: there is no such list of the split {split!r}{known}")
    return {line.split()[0] for line in read_text(file).splitlines() if line.strip()}


def _picture(file: Path, root: Path, query: Query, tally: Tally) -> SourcePicture:
    top = load_xml(file)
    if top.tag != "annotation":
        raise InputError(f"{file}: expected a VOC <annotation>, got <{top.tag}>")
    name = (top.findtext("filename") or "").strip()
    # The name inside is often that of a file before it was renamed.
    by_stem = (file.stem + suffix for suffix in sorted(PICTURE_SUFFIXES))
    beside = (file.parent, file.parent.parent / "JPEGImages", file.parent.parent / "images")
    return SourcePicture(
        names=(*([name] if name else []), *by_stem),
        folders=(query.images or root, *beside),
        place=str(file),
        shapes=tuple(_shapes(top, file, query, tally)),
        width=_stated(top, "width"),
        height=_stated(top, "height"),
    )


def _shapes(top: Element, file: Path, query: Query, tally: Tally) -> Iterator[Shape]:
    for at, thing in enumerate(top.findall("object")):  # not iter(): people have parts with boxes
        place = f"{file}: object[{at}]"
        try:
            box = corners_to_box(_numbers(thing))
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place)
            continue
        x1, y1, x2, y2 = box
        if not query.zero_based:
            if x1 == 0 or y1 == 0:
                reason = "a VOC corner at 0: if the file counts from 0, pass --zero-based"
                tally.add("object", "noted", reason, place)
            x1, y1 = x1 - 1, y1 - 1
        desc = (thing.findtext("name") or "").strip()
        tally.classes.add(desc)
        yield Shape(desc=desc, place=place, box=(x1, y1, x2, y2))


def _numbers(thing: Element) -> list[float]:
    box = thing.find("bndbox")
    if box is None:
        raise UnusableError("an object without a bndbox")
    try:
        return [float(box.findtext(key) or "missing") for key in _CORNERS]
    except ValueError:
        raise UnusableError("coordinates that are no finite numbers") from None


def _stated(top: Element, key: str) -> object:
    """Return what `size` says; 0 or nothing there is how tools say that they did not look."""
    text = (top.findtext(f"size/{key}") or "").strip()
    try:
        return float(text) or None if text else None
    except ValueError:
        return text
