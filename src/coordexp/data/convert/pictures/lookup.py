"""Finding files below a folder by the names that annotations give them; one way for all formats.

Annotations come from other machines: their paths have backslashes, `%20` for a blank, blanks at the
end, the letter case of a disk that does not mind it, or accents composed in another way (Unicode's
NFC and NFD). A file that is called exactly as it is given is always the one. Otherwise each part of
the path may differ in these ways, in letter case only where nothing fits without that; all files
that fit are returned, for the first of several is often the right one and sometimes another.
"""

import os
import posixpath
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

from coordexp.data.convert.reading.folders import is_hidden
from coordexp.data.convert.reading.shapes import UnusableError

OUTSIDE = "a picture path that leads out of the folder of the pictures"
NO_PATH = "a picture name that is no path: empty, or not UTF-8"

Fold = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Match:
    """The files that fit a name.

    Args:
        paths: Real paths; several where it is not clear which is meant.
        exact: Whether the file is called as it was given, apart from backslashes.
    """

    paths: tuple[Path, ...] = ()
    exact: bool = True


class Lookup:
    """Files below some folder; each folder is listed at most once, and only where that is needed.

    Args:
        root: Nothing outside it is looked at, through links either; None for no such limit.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = None if root is None else os.path.realpath(root)
        self._below = None if self._root is None else self._root.rstrip(os.sep) + os.sep
        self._real_folders: dict[tuple[Path, str], str] = {}
        self._listings: dict[str, list[str]] = {}
        self._folded: dict[tuple[str, Fold, Collection[str] | None], dict[str, list[str]]] = {}

    def find(self, folder: Path, name: str, suffixes: Collection[str] | None = None) -> Match:
        """Return the files that a name means.

        Args:
            folder: What the name is relative to.
            name: A path, in the spelling of Windows or of anything else.
            suffixes: Where given, the name has no suffix and its file has one of these.

        Raises:
            UnusableError: If it is no path, or leads out of the root.
        """
        _check_is_path(name)
        if suffixes is None:
            exact = self._exact(folder, name)
            if exact is not None:
                return Match((exact,))
        for fold in (_as_it_is, fold_spelling, fold_case):
            places = map(os.path.realpath, self._fitting(folder, name, fold, suffixes))
            files = {place for place in places if self._is_inside(place) and os.path.isfile(place)}  # noqa: PTH113 - as above
            if files:
                return Match(tuple(map(Path, sorted(files))), exact=fold is _as_it_is)
        if _leads_away(folder, name, self._root):
            raise UnusableError(OUTSIDE)
        return Match()

    def folders(self, parent: Path, name: str) -> list[Path]:
        """Return the folder of a name, or else those that fit it in another spelling."""
        if (parent / name).is_dir():
            return [parent / name]
        for fold in (fold_spelling, fold_case):
            found = [Path(place) for place in self._fitting(parent, name, fold, None)]
            if folders := [path for path in found if path.is_dir()]:
                return folders
        return []

    def _exact(self, folder: Path, name: str) -> Path | None:
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            path = self._real_path(folder, spelling)
            if self._is_inside(path) and os.path.isfile(path):  # noqa: PTH113 - Path raises on long names
                return Path(path)
        return None

    def _real_path(self, folder: Path, name: str) -> str:
        """Return where a name really leads; of a folder it is asked once, not for each file."""
        home, _, last = name.rpartition("/")
        if last in ("", ".", "..") or name.startswith("/"):
            return os.path.realpath(folder / name)
        key = folder, home
        if key not in self._real_folders:
            self._real_folders[key] = os.path.realpath(folder / home)
        path = os.path.join(self._real_folders[key], last)  # noqa: PTH118 - thousands of times
        return os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114

    def _fitting(
        self, folder: Path, name: str, fold: Fold, suffixes: Collection[str] | None
    ) -> list[str]:
        """Return what each part of a name fits, from folder to folder."""
        spelled = name if fold is _as_it_is else _unquoted(name).strip()
        parts = posixpath.normpath(spelled.replace("\\", "/")).split("/")
        places = [str(folder)]
        for at, part in enumerate(parts):
            ends = suffixes if at == len(parts) - 1 else None
            places = [
                os.path.join(place, child)  # noqa: PTH118 - thousands of times
                for place in places
                for child in self._children(place, part, fold, ends)
            ]
        return places

    def _children(
        self, place: str, part: str, fold: Fold, suffixes: Collection[str] | None
    ) -> list[str]:
        if part in ("", ".", ".."):
            return [part or "."]
        if not self._is_inside(os.path.realpath(place)):
            return []
        if (place, fold, suffixes) not in self._folded:
            folded: dict[str, list[str]] = {}
            for child in self._listing(place):
                stem, suffix = os.path.splitext(child)  # noqa: PTH122 - a name, not a path
                if suffixes is None:
                    folded.setdefault(fold(child), []).append(child)
                elif suffix.lower() in suffixes:
                    folded.setdefault(fold(stem), []).append(child)
            self._folded[place, fold, suffixes] = folded
        return self._folded[place, fold, suffixes].get(fold(part), [])

    def _listing(self, place: str) -> list[str]:
        if place not in self._listings:
            try:
                names = os.listdir(place)  # noqa: PTH208 - names, without a Path for each
            except OSError:
                names = []
            self._listings[place] = sorted(name for name in names if not is_hidden(name))
        return self._listings[place]

    def _is_inside(self, path: str) -> bool:
        return self._below is None or path == self._root or path.startswith(self._below)


def fold_spelling(name: str) -> str:
    """Return a name with `%20` decoded, no blanks around it, and in one Unicode form."""
    return unicodedata.normalize("NFC", _unquoted(name)).strip()


def fold_case(name: str) -> str:
    """Return a name as `fold_spelling` does, and without letter case."""
    return fold_spelling(name).casefold()


def _as_it_is(name: str) -> str:
    return name


def _unquoted(name: str) -> str:
    try:
        return unquote(name, errors="strict")
    except UnicodeError:
        return name


def _check_is_path(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise UnusableError(NO_PATH) from None
    if not name.strip() or "\0" in name:
        raise UnusableError(NO_PATH)


def _leads_away(folder: Path, name: str, root: str | None) -> bool:
    if PureWindowsPath(name).anchor:
        return True
    path = os.path.realpath(folder / name.replace("\\", "/"))
    return root is not None and not Path(path).is_relative_to(root)
