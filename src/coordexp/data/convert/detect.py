"""Which format a dataset has, by what lies there."""

from pathlib import Path

from coordexp.data.convert.formats import format_names, load_formats
from coordexp.data.convert.reading.format import Format, Query, Source
from coordexp.data.convert.reading.shapes import Dataset
from coordexp.data.convert.reading.tally import Tally
from coordexp.data.files.jsonl import read_rows
from coordexp.errors import InputError


def open_dataset(src: Path, query: Query, tally: Tally, *, kind: str | None) -> tuple[str, Dataset]:
    """Return the name of a dataset's format and the dataset.

    Args:
        src: An annotation file or the dataset's folder.
        query: What is wanted of it.
        tally: Where a reader counts what it cannot hand on.
        kind: The format's name, where the user knows better.

    Raises:
        InputError: If nothing of a known format is there, or more than one thing.
    """
    named = None if kind is None else _format_called(kind)
    if not src.exists():
        raise InputError(f"{src}: there is no such file or folder")
    if src.is_file():
        source = Source(src, query)
        chosen = named or _format_of_file(source, _formats_by_suffix(src))
    else:
        likely = _formats_in_folder(src, query) if named is None else [named]
        source = Source(_place_in_folder(src, likely[0], query.split), query)
        chosen = likely[0] if len(likely) == 1 else _format_of_file(source, likely)
    return chosen.name, chosen.read(source, tally)


def _format_called(name: str) -> Format:
    for item in load_formats():
        if item.name == name:
            return item
    known = ", ".join(format_names())
    raise InputError(f"--format: there is no format {name!r}; known formats are {known}")


def _formats_by_suffix(path: Path) -> list[Format]:
    known = load_formats()
    found = [item for item in known if path.name.lower().endswith(item.suffixes)]
    if found:
        return found
    titles: dict[str, list[str]] = {}
    for item in known:
        titles.setdefault(item.suffixes[0], []).append(item.title)
    listed = [f"{suffix} ({', '.join(titles[suffix])})" for suffix in sorted(titles)]
    raise InputError(f"{path}: expected {_either(listed)}, or a folder; --format says what it is")


def _format_of_file(source: Source, formats: list[Format]) -> Format:
    if source.path.suffix.lower() == ".jsonl":
        _check_is_not_converted(source.path)
    found = [item for item in formats if item.recognises(source)]
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(source.path, "looks like", ", ".join(item.name for item in found))
    expected = dict.fromkeys(item.expects or item.title for item in formats)
    raise InputError(f"{source.path}: expected {_either([*expected])}")


def _formats_in_folder(folder: Path, query: Query) -> list[Format]:
    """Return the format, or those that the annotation file itself will tell apart."""
    groups: dict[object, list[Format]] = {}
    known = load_formats()
    for item in known:
        groups.setdefault(item.files or item.name, []).append(item)
    here = Source(folder, query)
    found = [group for group in groups.values() if _is_in(here, group[0])]
    found.sort(key=len)  # what is certain is told first
    if len(found) == 1:
        return found[0]
    if found:
        names = (" or ".join(item.name for item in group) for group in found)
        raise _several(folder, "holds", ", ".join(names))
    titles = _either([item.title for item in known])
    raise InputError(
        f"{folder}: found no {titles} annotations; name the file, or the format with --format"
    )


def _is_in(folder: Source, kind: Format) -> bool:
    return kind.recognises(folder) if kind.files is None else bool(kind.files(folder.path, None))


def _place_in_folder(folder: Path, kind: Format, split: str | None) -> Path:
    if kind.files is None:
        return folder
    files = kind.files(folder, split)
    if len(files) == 1:
        return files[0]
    if not files:
        part = "" if split is None else f" of the split {split!r}"
        raise InputError(f"{folder}: found no annotation file{part}")
    names = ", ".join(str(path.relative_to(folder)) for path in files)
    raise InputError(f"{folder}: several annotation files: {names}; name one, or use --split")


def _check_is_not_converted(path: Path) -> None:
    row = next((row for _, row in read_rows(path)), None)
    if isinstance(row, dict) and "images" in row and "objects" in row:
        raise InputError(f"{path}: these are records already; go on with coordexp data prepare")


def _several(path: Path, verb: str, names: str) -> InputError:
    return InputError(f"{path}: {verb} several formats ({names}); choose one with --format")


def _either(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
