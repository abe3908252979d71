"""YOLO: one text file of class numbers and shares for each picture, and a `data.yaml` with names.

A line is `class cx cy width height` or `class x y x y x y ...`, an outline. Labels are where
Ultralytics looks for them: the last `images` in the picture's path becomes `labels`. Where there is
none, beside the picture. A picture without a label file shows nothing of the classes. Poses
(`kpt_shape` in the YAML) are refused: their lines look like outlines.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from coordexp.data.convert.documents import load_yaml, read_text
from coordexp.data.convert.pictures import PICTURE_SUFFIXES
from coordexp.data.convert.report import Tally
from coordexp.data.convert.source import (
    Dataset,
    Query,
    Shape,
    SourcePicture,
    UnusableError,
    finite_numbers,
    size_to_box,
)
from coordexp.data.geometry import shown
from coordexp.errors import InputError

_NAME_FILES = ("classes.txt", "obj.names")
_SPLITS = ("train", "val", "test")
_BOX_VALUES, _LEAST_OUTLINE = 4, 6


def find_yaml(folder: Path) -> Path | None:
    """Return a folder's YOLO description, or None."""
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        document = load_yaml(path)
        if isinstance(document, dict) and "names" in document:
            return path
    return None


def has_text_names(folder: Path) -> bool:
    """Return whether a folder names YOLO's classes in a text file."""
    return any(file.is_file() for file in _name_files(folder))


def _name_files(folder: Path) -> list[Path]:
    return [place / name for place in (folder, folder / "labels") for name in _NAME_FILES]


def read_yolo(src: Path, query: Query, tally: Tally) -> Dataset:
    """Return the pictures of a split.

    Args:
        src: The YAML file, a folder with one, or one with `classes.txt`, pictures and labels.
        query: What is wanted of it; a split has to be named where there are several.
        tally: Where lines that are no label are counted.

    Raises:
        InputError: If names or pictures are missing, or the split is unclear.
    """
    description = src if src.is_file() else find_yaml(src)
    home = src.parent if src.is_file() else src
    root = query.images or home
    if description is None:
        names, folders = _names_in_text(home), [_split_folder(root, query.split)]
    else:
        names, folders, root = _described(description, root, query)
    tally.classes.update(names.values())
    files = [file for folder in folders for file in _pictures_in(folder, root)]
    if not files:
        raise InputError(f"{src}: no picture in {', '.join(map(str, folders))}")
    labels = {file: _label_file(file, root) for file in files}

    def pictures() -> Iterator[SourcePicture]:
        for file in files:
            yield _picture(file, labels[file], names, tally)
        _drop_orphans(labels, tally)

    return Dataset(root=root, pictures=pictures())


def _described(path: Path, root: Path, query: Query) -> tuple[dict[int, str], list[Path], Path]:
    document = load_yaml(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a mapping with names, got {shown(document)}")
    if "kpt_shape" in document:
        raise InputError(f"{path}: describes poses, which the data contract has no place for")
    base = document.get("path")
    if query.images is None and isinstance(base, str) and (root / base).is_dir():
        root = root / base
    splits = [name for name in _SPLITS if document.get(name)]
    split = {"valid": "val"}.get(query.split or "", query.split)
    if split is None and len(splits) == 1:
        split = splits[0]
    if split not in splits:
        known = ", ".join(splits) or "none"
        raise InputError(f"{path}: choose one of its splits with --split: {known}")
    entries = document[split]
    listed = entries if isinstance(entries, list) else [entries]
    return _names(path, document.get("names")), [_folder(path, root, it) for it in listed], root


def _folder(path: Path, root: Path, entry: object) -> Path:
    if not isinstance(entry, str):
        raise InputError(f"{path}: expected a folder of pictures, got {shown(entry)}")
    # Roboflow writes ../train/images and means train/images.
    for candidate in (root / entry, root / entry.removeprefix("../")):
        real = candidate.resolve()
        if real.is_relative_to(root.resolve()) and real.exists():
            return candidate
    raise InputError(
        f"{path}: there is no {entry!r} in {root}; name the folder that it is relative to with "
        "--images"
    )


def _names(path: Path, names: object) -> dict[int, str]:
    pairs = enumerate(names) if isinstance(names, list) else ()
    rows = dict(pairs) if not isinstance(names, dict) else names
    for number, name in rows.items():
        if type(number) is not int or not isinstance(name, int | str):
            raise InputError(f"{path}: names: expected a list or number: name, got {shown(names)}")
    if not rows:
        raise InputError(f"{path}: names: expected a list or number: name, got {shown(names)}")
    return {number: str(name) for number, name in rows.items()}


def _names_in_text(home: Path) -> dict[int, str]:
    for file in _name_files(home):
        if file.is_file():
            lines = (line.strip() for line in read_text(file).splitlines())
            return dict(enumerate(line for line in lines if line))
    raise InputError(f"{home}: no data.yaml, classes.txt or obj.names says what the classes are")


def _split_folder(root: Path, split: str | None) -> Path:
    if split is None:
        return root
    for folder in (root / "images" / split, root / split):
        if folder.is_dir():
            return folder
    raise InputError(f"{root}: there is no folder of the split {split!r}")


def _pictures_in(folder: Path, root: Path) -> list[Path]:
    if folder.is_file():  # a list of paths, relative to the list or to the dataset
        lines = [line.strip() for line in read_text(folder).splitlines()]
        homes = (folder.parent, root)
        found = ([home / line for home in homes if (home / line).is_file()] for line in lines)
        return [
            (paths or [folder.parent / line])[0]
            for line, paths in zip(lines, found, strict=True)
            if line
        ]
    files = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return sorted(files)


def _label_file(picture: Path, root: Path) -> Path:
    parts = list(picture.relative_to(root).parts) if picture.is_relative_to(root) else []
    if "images" in parts:
        at = len(parts) - 1 - parts[::-1].index("images")
        parts[at] = "labels"
        return root.joinpath(*parts).with_suffix(".txt")
    inside = picture.relative_to(root) if picture.is_relative_to(root) else Path(picture.name)
    apart = (root / "labels" / inside).with_suffix(".txt")
    return apart if apart.is_file() else picture.with_suffix(".txt")


def _picture(picture: Path, labels: Path, names: Mapping[int, str], tally: Tally) -> SourcePicture:
    shapes: tuple[Shape, ...] = ()
    if labels.is_file():
        shapes = tuple(_shapes(labels, names, tally))
    else:
        reason = "no label file: nothing of the classes is on it"
        tally.add("picture", "noted", reason, str(picture))
    return SourcePicture(
        names=(picture.name,), folders=(picture.parent,), place=str(picture), shapes=shapes
    )


def _shapes(file: Path, names: Mapping[int, str], tally: Tally) -> Iterator[Shape]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            yield _shape(line, names, place)
        except UnusableError as error:
            tally.drop_unread_object(error.reason, place)


def _shape(line: str, names: Mapping[int, str], place: str) -> Shape:
    try:
        number, *values = map(float, line.split())
    except ValueError:
        raise UnusableError("a line that is not numbers") from None
    if number not in names:
        raise UnusableError("a class number without a name")
    desc = names[int(number)]
    coordinates = finite_numbers(values)
    if len(coordinates) == _BOX_VALUES:
        cx, cy, width, height = coordinates
        box = size_to_box((cx - width / 2, cy - height / 2, width, height))
        return Shape(desc=desc, place=place, box=box, unit="share")
    if len(coordinates) < _LEAST_OUTLINE or len(coordinates) % 2:
        raise UnusableError("a line with neither 4 values nor an outline's pairs")
    return Shape(desc=desc, place=place, outlines=(coordinates,), unit="share")


def _drop_orphans(labels: Mapping[Path, Path], tally: Tally) -> None:
    """Count the label files beside the used ones whose picture is not there."""
    used = {file for file in labels.values() if file.is_file()}
    stems = {
        path.stem
        for home in {file.parent for file in labels}
        for path in home.glob("*.*")
        if path.suffix.lower() in PICTURE_SUFFIXES
    }
    for folder in sorted({file.parent for file in used}):
        for file in sorted(folder.glob("*.txt")):
            if file.stem not in stems and file.name not in _NAME_FILES:
                tally.drop_unread_picture("labels of a picture that is missing", str(file))
