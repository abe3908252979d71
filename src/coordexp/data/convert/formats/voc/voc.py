"""The pictures of Pascal VOC, from one XML file each.

VOC counts pixels from 1 and means the first and the last pixel of a thing. As edges, a box is
therefore `xmin - 1, ymin - 1, xmax, ymax`. Tools that count edges from 0 write the same XML; for
their files the corners are taken as they are. `corners` decides which it is, where that is not
given and can be decided. What is marked `difficult` becomes an ignored object.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element

from coordexp.data.contract.marks import Marks
from coordexp.data.convert.formats.voc.corners import CornerCount
from coordexp.data.convert.formats.voc.split import files_of_split
from coordexp.data.convert.pictures.lookup import Lookup, fold_case
from coordexp.data.convert.reading.documents import load_xml, xml_root_name
from coordexp.data.convert.reading.folders import files_below, files_in
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import (
    Dataset,
    Shape,
    SourcePicture,
    UnusableError,
    corners_to_box,
)
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError

_FLAGS = {"0": False, "1": True, "": False, "false": False, "true": True}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FEW = 20


def _recognises(source: Source) -> bool:
    path = source.path
    if path.is_file():
        return _may_be_voc(path)
    return any(map(_may_be_voc, islice(files_in(_annotations_folder(path), ".xml"), _FEW)))


def _may_be_voc(path: Path) -> bool:
    # Of any other XML the reader says what was expected; CVAT's is a format of its own.
    return xml_root_name(path) != "annotations"


def _annotations_folder(folder: Path) -> Path:
    for apart in Lookup(None).folders(folder, "Annotations"):
        if apart.name == "Annotations" or any(files_in(apart, ".xml")):  # COCO's are in lower case
            return apart
    return folder


def _read(source: Source, tally: Tally) -> Dataset:
    """Return the pictures of an XML file or of all XML files below a folder.

    Raises:
        InputError: If there are none, a file is not VOC's, or the split is unknown.
    """
    query = source.query
    src = source.path if source.path.is_file() else _annotations_folder(source.path)
    files = [src] if src.is_file() else files_below(src, (".xml",))
    home = src.parent if src.is_file() else src
    top = home.parent if home.name.lower() == "annotations" else home
    if not files:
        raise InputError(f"{src}: there are no XML files in it")
    rivals = _rivals(files_below(home, (".xml",)) if src.is_file() else files)
    if query.split is not None:
        files = files_of_split(files, top, query.split, tally)
    zero_based = query.zero_based
    if zero_based is None:
        zero_based = _decide_where_corners_start(files, tally)

    near = _PictureFolders(home, top, query.images)

    def pictures() -> Iterator[SourcePicture]:
        for file in files:
            folders, stems = near.of(file), rivals[file.parent]
            yield _picture(file, folders, stems, tally, zero_based=zero_based)

    return Dataset(root=query.images or top, pictures=pictures())


def _rivals(files: list[Path]) -> dict[Path, frozenset[str]]:
    """Return the folded stems of the files in each folder."""
    stems: dict[Path, set[str]] = {}
    for file in files:
        stems.setdefault(file.parent, set()).add(fold_case(file.stem))
    return {folder: frozenset(names) for folder, names in stems.items()}


def _decide_where_corners_start(files: list[Path], tally: Tally) -> bool:
    count = CornerCount()
    for file in files:
        top = _annotation(file)
        for thing in top.findall("object"):
            try:
                box = corners_to_box(_numbers(thing))
            except UnusableError:  # is counted when the pictures are read
                continue
            count.add(box, _stated(top, "width"), _stated(top, "height"), str(file))
    if count.is_zero_based:
        reason = "VOC corners that count from 0, for some lie there: taken as they are"
        tally.add("object", "noted", reason, count.first_zero, count=count.boxes)
    elif count.boxes and count.doubt:
        tally.doubts.append(count.doubt)
    return count.is_zero_based


class _PictureFolders:
    """Where the pictures of XML files may be."""

    def __init__(self, home: Path, top: Path, images: Path | None) -> None:
        self._home = home
        self._top = top
        self._images = images
        self._lookup = Lookup(None)
        self._known: dict[Path, tuple[Path, ...]] = {}

    def of(self, file: Path) -> tuple[Path, ...]:
        """Return the folders, near ones before far ones: a name may be in several."""
        if file.parent not in self._known:
            self._known[file.parent] = self._near(file.parent)
        return self._known[file.parent]

    def _near(self, folder: Path) -> tuple[Path, ...]:
        inside = folder.relative_to(self._home)
        named = [] if self._images is None else [self._images / inside, self._images]
        mirrored = [place / inside for place in self._beside(self._top)]
        apart = [*mirrored, *self._beside(folder.parent), *self._beside(self._top)]
        is_apart = "annotations" in map(str.lower, (self._home.name, *inside.parts))
        order = [*apart, folder] if is_apart else [folder, *apart]
        return tuple(dict.fromkeys((*named, *order, self._top)))

    def _beside(self, base: Path) -> list[Path]:
        names = ("JPEGImages", "images")
        return [place for name in names for place in self._lookup.folders(base, name)]


def _annotation(file: Path) -> Element:
    top = load_xml(file)
    if top.tag != "annotation":
        raise InputError(f"{file}: expected a VOC <annotation>, got <{top.tag}>")
    return top


def _picture(
    file: Path,
    folders: tuple[Path, ...],
    stems: frozenset[str],
    tally: Tally,
    *,
    zero_based: bool,
) -> SourcePicture:
    top = _annotation(file)
    name = (top.findtext("filename") or "").strip()
    return SourcePicture(
        names=(name,) if name else (),
        folders=folders,
        place=str(file),
        shapes=tuple(_shapes(top, file, tally, zero_based=zero_based)),
        width=_stated(top, "width"),
        height=_stated(top, "height"),
        stem=file.stem,
        rivals=stems - {fold_case(file.stem)},
    )


def _shapes(top: Element, file: Path, tally: Tally, *, zero_based: bool) -> Iterator[Shape]:
    for at, thing in enumerate(top.findall("object")):  # not iter(): people have parts with boxes
        place = f"{file}: object[{at}]"
        try:
            box = corners_to_box(_numbers(thing))
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place)
            continue
        x1, y1, x2, y2 = box
        if not zero_based:
            if x1 < 1 or y1 < 1:
                reason = "a VOC corner at 0: if the file counts from 0, pass --zero-based"
                tally.add("object", "noted", reason, place)
            x1, y1 = x1 - 1, y1 - 1
        desc = (thing.findtext("name") or "").strip()
        tally.classes.add(desc)
        marks = Marks(ignore=_is_difficult(thing, place, tally))
        yield Shape(desc=desc, place=place, box=(x1, y1, x2, y2), marks=marks)


def _is_difficult(thing: Element, place: str, tally: Tally) -> bool:
    """Return whether nobody can be expected to find a thing: VOC does not count it."""
    text = (thing.findtext("difficult") or "0").strip().lower()
    if text not in _FLAGS:
        tally.add("object", "noted", "a <difficult> that is neither 0 nor 1: taken as 0", place)
    return _FLAGS.get(text, False)


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


FORMAT = Format(name="voc", title="VOC", suffixes=(".xml",), recognises=_recognises, read=_read)
