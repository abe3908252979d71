"""What a format is to everything around it: how it is told, recognised, found and read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coordexp.data.convert.reading.documents import load_json
from coordexp.data.convert.reading.shapes import Dataset
from coordexp.data.convert.reading.tally import Tally


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader needs to know.

    Args:
        split: Which part of the dataset, where it has several.
        images: The folder of the pictures, where the user names it.
        zero_based: Whether VOC's corners count from 0; None to decide by what they are.
        outlines: Whether polygons are wanted.
        points: Whether single points are wanted.
        empty: Whether pictures without objects are wanted.
    """

    split: str | None
    images: Path | None
    zero_based: bool | None
    outlines: bool
    points: bool = False
    empty: bool = True


class Source:
    """A file or folder of annotations, and what is wanted of it.

    Args:
        path: The file or folder.
        query: What is wanted.
    """

    def __init__(self, path: Path, query: Query) -> None:
        self.path = path
        self.query = query
        self._documents: list[object] = []

    def document(self, forget: Callable[[dict[str, object]], None]) -> object:
        """Return the value of a JSON file, parsed once: it may be large, and formats share it.

        Args:
            forget: Takes the outlines out of an object that does without; asked of the first who
                comes, where no outlines are wanted.

        Raises:
            InputError: If it is not JSON.
        """
        if not self._documents:
            value = load_json(self.path, forget=None if self.query.outlines else forget)
            self._documents.append(value)
        return self._documents[0]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of datasets.

    Args:
        name: What `--format` and the report call it.
        title: What people call it.
        suffixes: How its annotation files end, in lower case; the first one is told.
        recognises: Whether a file with one of these endings is of this format; where there are no
            `files`, whether a folder is.
        read: Returns the pictures of a file or folder; what is no picture or shape is counted.
        files: Returns the annotation files in a folder that belong to a split, all for None; a
            dataset is one of them. Left out where the folder itself is the dataset. Formats with
            the same function are told apart by the file.
        expects: What its files hold, for one that no format recognises.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    recognises: Callable[[Source], bool]
    read: Callable[[Source, Tally], Dataset]
    files: Callable[[Path, str | None], list[Path]] | None = None
    expects: str = ""
