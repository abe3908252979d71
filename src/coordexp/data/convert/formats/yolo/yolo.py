"""The pictures of a YOLO dataset, with the shapes of their label files.

A picture without a label file shows nothing of the classes; where most
have none, they have not been found. Poses (`kpt_shape` in the YAML) are refused: their lines look
like outlines.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordexp.data.convert.formats.yolo.description import (
    NAME_FILES,
    find_yaml,
    has_text_names,
    load_description,
)
from coordexp.data.convert.formats.yolo.label_files import find_label_files
from coordexp.data.convert.formats.yolo.lines import survey_lines, text_to_shapes
from coordexp.data.convert.pictures.finding import FOREIGN_SUFFIXES, PICTURE_SUFFIXES
from coordexp.data.convert.pictures.lookup import Lookup, fold_case
from coordexp.data.convert.reading.documents import read_text
from coordexp.data.convert.reading.folders import files_below, is_hidden
from coordexp.data.convert.reading.format import Format, Source
from coordexp.data.convert.reading.shapes import Dataset, Shape, SourcePicture, UnusableError
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError


@dataclass(frozen=True, slots=True)
class _Entry:
    """A picture as the dataset names it.

    Args:
        name: Its path, as it is written.
        folders: What the path may be relative to.
        place: Where it is written.
        file: The picture, or None where it is not there.
    """

    name: str
    folders: tuple[Path, ...]
    place: str
    file: Path | None


def _recognises(source: Source) -> bool:
    path = source.path
    return path.is_file() or find_yaml(path) is not None or has_text_names(path)


def _read(source: Source, tally: Tally) -> Dataset:
    """Return the pictures of a split, which has to be named where there are several.

    Args:
        source: The YAML file, a folder with one, or one with `classes.txt`, pictures and labels.
        tally: Where lines that are no label are counted.

    Raises:
        InputError: If names, pictures or labels are missing, the split is unclear, or the labels
            are not what YOLO's are.
    """
    src, query = source.path, source.query
    description = load_description(src, query)
    names, root = description.names, description.root
    tally.classes.update(names.values())
    entries = [entry for place in description.places for entry in _entries_in(place, root)]
    if not entries:
        raise InputError(f"{src}: no picture in {', '.join(map(str, description.places))}")
    files = [entry.file for entry in entries if entry.file is not None]
    labels = find_label_files(files, description, src, tally, empty=query.empty)
    _note_shared(labels, tally)
    # All lines are surveyed before one is read. Their text is kept: it is a small part of what the
    # same boxes take in a COCO document.
    texts = {file: read_text(file) for file in dict.fromkeys(labels.values())}
    columns = survey_lines(texts, names)

    def shapes_of(picture: Path | None) -> Iterator[Shape]:
        file = None if picture is None else labels.get(picture)
        if file is not None:
            yield from text_to_shapes(file, texts[file], names, columns, tally)

    def pictures() -> Iterator[SourcePicture]:
        for entry in entries:
            yield SourcePicture(
                names=(entry.name,),
                folders=entry.folders,
                place=entry.place,
                shapes=tuple(shapes_of(entry.file)),
            )
        _drop_orphans(files, labels, tally)

    return Dataset(root=root, pictures=pictures())


def _entries_in(place: Path, root: Path) -> Iterator[_Entry]:
    if not place.is_file():
        for path in files_below(place, PICTURE_SUFFIXES):
            yield _Entry(name=path.name, folders=(path.parent,), place=str(path), file=path)
        return
    lookup = Lookup(root)
    homes = (place.parent, root)  # a list's paths are relative to it, or to the dataset
    for number, line in enumerate(read_text(place).splitlines(), start=1):
        if name := line.strip():
            file = _listed_file(lookup, homes, name)
            at = f"{place}:{number}" if file is None else str(file)
            yield _Entry(name=name, folders=homes, place=at, file=file)


def _listed_file(lookup: Lookup, homes: Sequence[Path], name: str) -> Path | None:
    for home in homes:
        try:
            match = lookup.find(home, name)
        except UnusableError:
            continue
        if len(match.paths) == 1:
            unlinked = home / name.replace("\\", "/")  # labels are beside the link, not its target
            return unlinked if match.exact and unlinked.is_file() else match.paths[0]
    return None


def _note_shared(labels: Mapping[Path, Path], tally: Tally) -> None:
    for file, count in Counter(labels.values()).items():
        if count > 1:
            reason = "a picture whose label file is that of another as well"
            tally.add("picture", "noted", reason, str(file), count=count)


def _drop_orphans(files: Sequence[Path], labels: Mapping[Path, Path], tally: Tally) -> None:
    """Count the label files beside the used ones whose picture is not there."""
    others: dict[str, str] = {}
    stems: set[str] = set()
    for home in {file.parent for file in files}:
        for path in home.iterdir():
            suffix = path.suffix.lower()
            if suffix in PICTURE_SUFFIXES:
                stems.add(fold_case(path.stem))
            elif suffix in FOREIGN_SUFFIXES:
                others[fold_case(path.stem)] = path.suffix
    for folder in sorted({file.parent for file in labels.values()}):
        for file in sorted(folder.iterdir()):
            stem = fold_case(file.stem)
            is_label = file.suffix.lower() == ".txt" and file.name not in NAME_FILES
            if is_label and stem not in stems and not is_hidden(file.name):
                tally.drop_unread_picture(_why_orphan(others.get(stem)), str(file))


def _why_orphan(suffix: str | None) -> str:
    if suffix is None:
        return "labels of a picture that is missing"
    return f"labels of a file that is not read as a picture ({suffix})"


FORMAT = Format(
    name="yolo", title="YOLO", suffixes=(".yaml", ".yml"), recognises=_recognises, read=_read
)
