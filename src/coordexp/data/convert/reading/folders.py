"""What lies in a folder, apart from what is hidden, and which split its name says."""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

_NOT_DATA = frozenset({"__MACOSX", "@eaDir"})  # what macOS and Synology put beside files


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is no data: hidden, or what a system puts beside files."""
    return name.startswith(".") or name in _NOT_DATA


def files_in(folder: Path, suffix: str, *, pattern: str = "*") -> Iterator[Path]:
    """Yield the visible files of a folder that end in a suffix, in any case.

    Args:
        folder: Where to look.
        suffix: In lower case.
        pattern: `*` for the folder itself, `*/*` for its folders.
    """
    for path in folder.glob(pattern):
        hidden = any(map(is_hidden, path.relative_to(folder).parts))
        if path.name.lower().endswith(suffix) and not hidden and path.is_file():
            yield path


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below a folder that end in one of some suffixes, in any case, sorted.

    What is hidden below it is passed over, such as `.ipynb_checkpoints/` and macOS's `._a.xml`. The
    folder itself may be hidden.
    """
    found: list[Path] = []
    for home, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        names = (Path(home, name) for name in files if not is_hidden(name))
        found += [path for path in names if path.suffix.lower() in suffixes]
    return sorted(found)


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders of a folder."""
    return [path for path in folder.glob("*") if path.is_dir() and not is_hidden(path.name)]


def is_of_split(path: Path, folder: Path, split: str | None) -> bool:
    """Return whether a word of a path below a folder says the split; of None are all.

    Example:
        >>> is_of_split(Path("a/instances_val2017.json"), Path("a"), "valid")
        True
    """
    if split is None:
        return True
    word = re.escape("val" if split == "valid" else split)
    spelling = re.compile(rf"{word}(id|idation|ing)?\d*", re.IGNORECASE)
    words = re.split(r"[^A-Za-z0-9]+", str(path.relative_to(folder)))
    return any(spelling.fullmatch(word) for word in words)
