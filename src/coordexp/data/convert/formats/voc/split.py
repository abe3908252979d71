"""The lists of `ImageSets/Main`, which say which pictures a split has."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from coordexp.data.convert.pictures.finding import PICTURE_SUFFIXES
from coordexp.data.convert.pictures.lookup import fold_case
from coordexp.data.convert.reading.documents import read_text
from coordexp.data.convert.reading.folders import is_hidden
from coordexp.data.convert.reading.tally import Tally
from coordexp.errors import InputError

_MARKS = ("-1", "0", "1")  # lists of one class say whether it is on the picture


def files_of_split(files: list[Path], top: Path, split: str, tally: Tally) -> list[Path]:
    """Return the annotation files that the list of a split names, in their order.

    A name may be a path and have the suffix of the picture. Names without an annotation file are
    counted as pictures that are dropped.

    Raises:
        InputError: If there is no such list, or it names none of the files.
    """
    path = _list_of_split(top, split)
    wanted: set[str] = set()
    unknown: list[tuple[int, str]] = []
    stems = {file.stem for file in files}
    folded = {fold_case(stem): stem for stem in sorted(stems)}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        stem = next((name for name in _meanings(line) if name in stems), None)
        stem = stem or next(filter(None, map(folded.get, map(fold_case, _meanings(line)))), None)
        if stem is None:
            unknown.append((number, line.strip()))
        else:
            wanted.add(stem)
    if not wanted:
        first = f", the first of them is {unknown[0][1]!r}" if unknown else ""
        raise InputError(
            f"{path}: names no file of {files[0].parent}{first}; a line is the name of one, "
            "without its suffix"
        )
    for number, _ in unknown:
        reason = "a name in the list of the split that no annotation file has"
        tally.drop_unread_picture(reason, f"{path}:{number}")
    return [file for file in files if file.stem in wanted]


def _list_of_split(top: Path, split: str) -> Path:
    folder = top / "ImageSets" / "Main"
    for path in (folder / f"{split}.txt", folder.parent / f"{split}.txt"):
        if path.is_file():
            return path
    there = (path.stem for path in folder.glob("*.txt") if not is_hidden(path.name))
    names = sorted(stem for stem in there if "_" not in stem)
    known = f"; there are {', '.join(names)}" if names else ""
    raise InputError(f"{folder / split}.txt: there is no such list of the split {split!r}{known}")


def _meanings(line: str) -> Iterator[str]:
    """Yield the stems that a line may mean, the likeliest first."""
    *name, mark = line.strip().rsplit(None, 1)
    for written in (line.strip(), *(name if mark in _MARKS else [])):
        path = PurePosixPath(written.replace("\\", "/"))
        yield path.name
        if path.suffix.lower() in (*PICTURE_SUFFIXES, ".xml"):
            yield path.stem
