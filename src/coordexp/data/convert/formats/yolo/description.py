"""What a YOLO dataset says about itself: class names, splits and folders."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coordexp.data.contract.geometry import shown
from coordexp.data.convert.pictures.lookup import Lookup
from coordexp.data.convert.reading.documents import load_yaml, read_text
from coordexp.data.convert.reading.folders import is_hidden
from coordexp.data.convert.reading.format import Query
from coordexp.data.convert.reading.shapes import UnusableError
from coordexp.errors import InputError

NAME_FILES = ("classes.txt", "obj.names")

_SPLITS = ("train", "val", "test")
_NOTHING = (None, "", "~", "null", "Null", "NULL")  # YAML's ways of an empty value
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Description:
    """A YOLO dataset before its pictures are looked at.

    Args:
        names: Class names by number.
        home: The folder of the description.
        root: What the folders of pictures are relative to; nothing outside it is opened.
        places: The folders of pictures of the split, or files that list them.
        entries: The same, as the description writes them.
    """

    names: Mapping[int, str]
    home: Path
    root: Path
    places: tuple[Path, ...]
    entries: tuple[str, ...]


def find_yaml(folder: Path) -> Path | None:
    """Return a folder's YOLO description, or None.

    Raises:
        InputError: If there are several that differ.
    """
    found: dict[Path, object] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        document = None if is_hidden(path.name) or not path.is_file() else load_yaml(path)
        if isinstance(document, dict) and "names" in document:
            found[path] = document
    paths = list(found)
    if any(found[path] != found[paths[0]] for path in paths):
        listed = ", ".join(path.name for path in paths)
        raise InputError(f"{folder}: several files describe a YOLO dataset: {listed}; name one")
    return paths[0] if paths else None


def has_text_names(folder: Path) -> bool:
    """Return whether a folder names YOLO's classes in a text file."""
    return any(file.is_file() for file in _name_files(folder))


def load_description(src: Path, query: Query) -> Description:
    """Return what a YAML file, or a folder with one or with `classes.txt`, describes.

    Raises:
        InputError: If names or pictures are missing, or the split is unclear.
    """
    path = src if src.is_file() else find_yaml(src)
    if path is None:
        root = query.images or src
        place = _split_folder(root, query.split)
        entry = place.relative_to(root).as_posix()
        return Description(_names_in_text(src), src, root, (place,), (entry,))
    document = load_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a mapping with names, got {shown(document)}")
    if "kpt_shape" in document:
        raise InputError(f"{path}: describes poses, which the data contract has no place for")
    root = query.images or path.parent
    base = document.get("path")
    if query.images is None and isinstance(base, str) and base not in _NOTHING:
        root = next(iter(Lookup(None).folders(root, base.replace("\\", "/"))), root)
    entries = _entries(path, document, query.split)
    places = tuple(_place(path, root, entry) for entry in entries)
    return Description(_names(path, document), path.parent, root, places, entries)


def _entries(path: Path, document: Mapping[str, object], split: str | None) -> tuple[str, ...]:
    splits = [name for name in _SPLITS if document.get(name) not in _NOTHING]
    split = {"valid": "val"}.get(split or "", split)
    if split is None and len(splits) == 1:
        split = splits[0]
    if split not in splits:
        known = ", ".join(splits) or "none"
        raise InputError(f"{path}: choose one of its splits with --split: {known}")
    entry = document[split]
    listed = entry if isinstance(entry, list) else [entry]
    for item in listed:
        if not isinstance(item, str):
            raise InputError(f"{path}: expected a folder of pictures, got {shown(item)}")
    return tuple(listed)


def _place(path: Path, root: Path, entry: str) -> Path:
    """Return the folder or list of an entry, inside the root."""
    written = entry.strip().replace("\\", "/")
    # Roboflow writes ../train/images and means train/images.
    inside = written.removeprefix("../")
    for spelling in (written, inside, *_behind_the_end_of(root, inside)):
        for candidate in _existing(root, spelling):
            if candidate.resolve().is_relative_to(root.resolve()):
                return candidate
    raise InputError(
        f"{path}: there is no {entry!r} in {root}; name the folder that it is relative to with "
        "--images"
    )


def _behind_the_end_of(root: Path, entry: str) -> Iterator[str]:
    """Yield what is left of an entry where `--images` names its first folders already."""
    parts = PurePosixPath(entry).parts
    above = [part.casefold() for part in root.resolve().parts]
    for count in range(len(parts), 0, -1):
        if [part.casefold() for part in parts[:count]] == above[-count:]:
            yield "/".join(parts[count:]) or "."


def _existing(root: Path, spelling: str) -> Iterable[Path]:
    lookup = Lookup(root)
    try:
        return [*lookup.folders(root, spelling), *lookup.find(root, spelling).paths]
    except UnusableError:  # it leads out of the root
        return []


def _names(path: Path, document: Mapping[str, object]) -> dict[int, str]:
    names, count = document.get("names"), document.get("nc")
    pairs = enumerate(names) if isinstance(names, list) else ()
    rows = dict(names) if isinstance(names, dict) else {str(at): name for at, name in pairs}
    for number, name in rows.items():
        if not _NUMBER.fullmatch(number) or not isinstance(name, str):
            raise InputError(f"{path}: names: expected a list or number: name, got {shown(names)}")
    if not rows:
        raise InputError(f"{path}: names: expected a list or number: name, got {shown(names)}")
    if isinstance(count, str) and _NUMBER.fullmatch(count) and int(count) != len(rows):
        raise InputError(f"{path}: nc says {count} classes, and names has {len(rows)}")
    return {int(number): name for number, name in rows.items()}


def _name_files(folder: Path) -> list[Path]:
    return [place / name for place in (folder, folder / "labels") for name in NAME_FILES]


def _names_in_text(home: Path) -> dict[int, str]:
    files = {file: _lines(file) for file in _name_files(home) if file.is_file()}
    if not files:
        raise InputError(f"{home}: no data.yaml, classes.txt or obj.names says what classes are")
    (first, names), *others = files.items()
    for file, other in others:
        if other != names:
            raise InputError(f"{first} and {file} name different classes; remove one of them")
    return names


def _lines(file: Path) -> dict[int, str]:
    """Return the names by the number of their line; a blank one names no class and shifts none."""
    lines = [line.strip() for line in read_text(file).splitlines()]
    return {number: line for number, line in enumerate(lines) if line}


def _split_folder(root: Path, split: str | None) -> Path:
    if split is None:
        return root
    lookup = Lookup(root)
    for base in (*lookup.folders(root, "images"), root):
        for folder in lookup.folders(base, split):
            return folder
    raise InputError(f"{root}: there is no folder of the split {split!r}")
