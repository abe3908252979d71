"""Which format a dataset has, by what lies there."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from coordexp.data.convert.coco import check_instances, read_coco
from coordexp.data.convert.coco_shape import forget_outlines
from coordexp.data.convert.documents import load_json
from coordexp.data.convert.labelme import read_labelme
from coordexp.data.convert.lookup import Lookup, is_hidden
from coordexp.data.convert.lvis import is_lvis, read_lvis
from coordexp.data.convert.odvg import is_odvg, read_odvg
from coordexp.data.convert.shapes import Dataset, Query
from coordexp.data.convert.tally import Tally
from coordexp.data.convert.voc import read_voc
from coordexp.data.convert.yolo import find_yaml, has_text_names, read_yolo
from coordexp.data.files.jsonl import read_rows
from coordexp.errors import InputError

Format = Literal["coco", "lvis", "voc", "yolo", "odvg", "labelme"]

FORMATS: tuple[Format, ...] = get_args(Format)
_PEEK_BYTES = 1 << 16
_FEW = 20
_BY_SUFFIX: Mapping[str, Format] = {
    ".xml": "voc",
    ".yaml": "yolo",
    ".yml": "yolo",
    ".jsonl": "odvg",
}
_READERS = {"voc": read_voc, "yolo": read_yolo, "odvg": read_odvg, "labelme": read_labelme}


def open_dataset(
    src: Path, query: Query, tally: Tally, *, kind: Format | None
) -> tuple[Format, Dataset]:
    """Return the format of a dataset and the dataset.

    Args:
        src: An annotation file or the dataset's folder.
        query: What is wanted of it.
        tally: Where a reader counts what it cannot hand on.
        kind: The format, where the user knows better.

    Raises:
        InputError: If nothing of a known format is there, or more than one thing.
    """
    if not src.exists():
        raise InputError(f"{src}: there is no such file or folder")
    if src.is_file():
        place, kind = src, kind or _kind_of_file(src)
    else:
        kind = kind or _kind_of_folder(src)
        place = _place_in_folder(src, kind, query)
    if kind in _READERS:
        return kind, _READERS[kind](place, query, tally)
    document = load_json(place, forget=None if query.outlines else forget_outlines)
    if not isinstance(document, dict) or not {"images", "annotations"} <= document.keys():
        raise InputError(f"{place}: expected the images, annotations and categories of COCO")
    check_instances(place, document)
    if kind == "lvis" or (kind is None and is_lvis(document)):
        return "lvis", read_lvis(place, document, query, tally)
    return "coco", read_coco(place, document, query, tally)


def _kind_of_file(path: Path) -> Format | None:
    """Return the format, or None for COCO or LVIS, which only the whole document tells apart."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".jsonl"]:
        _check_is_odvg(path)
    kind = _BY_SUFFIX.get(suffixes[-1] if suffixes else "")
    if kind is None and ".json" not in suffixes:
        raise InputError(
            f"{path}: expected .json (COCO, LVIS, labelme), .jsonl (ODVG), .xml (VOC) or .yaml "
            "(YOLO), or a folder; --format says what it is"
        )
    return "labelme" if kind is None and _looks_like_labelme(path) else kind


def _kind_of_folder(folder: Path) -> Format | None:
    """Return the format, or None for COCO or LVIS."""
    found: list[Format | None] = []
    if find_yaml(folder) or has_text_names(folder):
        found.append("yolo")
    if any(_visible(_voc_folder(folder), ".xml")):
        found.append("voc")
    if any(is_odvg(_first_row(path)) for path in _visible(folder, ".jsonl")):
        found.append("odvg")
    few = [
        *islice(_visible(folder, ".json"), _FEW),
        *islice(_visible(folder, ".json", pattern="*/*"), _FEW),
    ]
    if any(map(_looks_like_labelme, few)):
        found.append("labelme")
    if _coco_files(folder, split=None):
        found.append(None)
    if len(found) == 1:
        return found[0]
    if found:
        kinds = ", ".join(kind or "coco or lvis" for kind in found)
        raise InputError(f"{folder}: holds several formats ({kinds}); choose one with --format")
    raise InputError(
        f"{folder}: found no COCO, LVIS, VOC, YOLO, ODVG or labelme annotations; name the file, or "
        "the format with --format"
    )


def _place_in_folder(folder: Path, kind: Format | None, query: Query) -> Path:
    if kind in ("yolo", "labelme"):
        return folder
    if kind == "voc":
        return _voc_folder(folder)
    if kind == "odvg":
        files = sorted(path for path in _visible(folder, ".jsonl") if is_odvg(_first_row(path)))
        files = [path for path in files if _is_of_split(path, folder, query.split)]
    else:
        files = _coco_files(folder, query.split)
    if len(files) == 1:
        return files[0]
    if not files:
        part = "" if query.split is None else f" of the split {query.split!r}"
        raise InputError(f"{folder}: found no annotation file{part}")
    names = ", ".join(str(path.relative_to(folder)) for path in files)
    raise InputError(f"{folder}: several annotation files: {names}; name one, or use --split")


def _visible(folder: Path, suffix: str, *, pattern: str = "*") -> Iterator[Path]:
    for path in folder.glob(pattern):
        hidden = any(map(is_hidden, path.relative_to(folder).parts))
        if path.name.lower().endswith(suffix) and not hidden and path.is_file():
            yield path


def _visible_folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_dir() and not is_hidden(path.name)]


def _voc_folder(folder: Path) -> Path:
    for apart in Lookup(None).folders(folder, "Annotations"):
        if apart.name == "Annotations" or any(_visible(apart, ".xml")):  # COCO's are in lower case
            return apart
    return folder


def _coco_files(folder: Path, split: str | None) -> list[Path]:
    """Return the files that may be COCO's; where some are named `instances_*`, only those."""
    places = (folder, folder / "annotations", *_visible_folders(folder))
    files = {
        path
        for place in places
        for name in (".json", ".json.gz")
        for path in _visible(place, name)
        if _is_of_split(path, folder, split) and _looks_like_coco(path)
    }
    instances = {path for path in files if path.name.startswith("instances")}
    return sorted(instances or files)


def _is_of_split(path: Path, folder: Path, split: str | None) -> bool:
    if split is None:
        return True
    word = re.escape("val" if split == "valid" else split)
    spelling = re.compile(rf"{word}(id|idation|ing)?\d*", re.IGNORECASE)
    words = re.split(r"[^A-Za-z0-9]+", str(path.relative_to(folder)))
    return any(spelling.fullmatch(word) for word in words)


def _looks_like_labelme(path: Path) -> bool:
    ends = _ends(path)
    return b'"shapes"' in ends and b'"annotations"' not in ends


def _looks_like_coco(path: Path) -> bool:
    if path.suffix == ".gz":
        return True
    ends = _ends(path)
    return any(key in ends for key in (b'"annotations"', b'"images"', b'"categories"'))


def _ends(path: Path) -> bytes:
    """Return a file's first and last bytes: a large one is read once, and later."""
    with path.open("rb") as file:
        first = file.read(_PEEK_BYTES)
        file.seek(max(_PEEK_BYTES, path.stat().st_size - _PEEK_BYTES))
        return first + file.read()


def _first_row(path: Path) -> object:
    with suppress(InputError):  # what is no JSONL is no dataset of ours
        return next((row for _, row in read_rows(path)), None)
    return None


def _check_is_odvg(path: Path) -> None:
    row = next((row for _, row in read_rows(path)), None)
    if isinstance(row, dict) and "images" in row and "objects" in row:
        raise InputError(f"{path}: these are records already; go on with coordexp data prepare")
    if not is_odvg(row):
        raise InputError(f"{path}: expected ODVG: filename, and detection or grounding, a line")
