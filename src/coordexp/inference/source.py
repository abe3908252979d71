"""What is predicted on: a file of records, or a folder of pictures without any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, overload

from PIL import Image
from typing_extensions import override

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.image import picture_record
from coordexp.data.jsonl import RecordFile
from coordexp.data.record import Record
from coordexp.errors import InputError


class Source(Protocol):
    """Records, and the folder that their pictures are relative to."""

    path: Path
    root: Path

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Record: ...


def load_source(path: Path, alphabet: CoordAlphabet) -> Source:
    """Return the records of a JSONL file, checked, or of a folder.

    Raises:
        RecordError: If a record breaks the contract.
        InputError: If there is nothing to predict on.
    """
    if path.is_dir():
        return PictureFolder(path)
    records = RecordFile(path, alphabet)
    for _ in records:  # reading checks
        pass
    return records


class Excerpt(Sequence[Record]):
    """Some of a source's records.

    Args:
        source: Whose.
        indices: Which, in this order.
    """

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self.path, self.root = source.path, source.root
        self._source = source
        self._indices = indices

    @override
    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    @override
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return Excerpt(self._source, self._indices[index])
        return self._source[self._indices[index]]


class PictureFolder(Sequence[Record]):
    """The pictures in a folder and below, by name, as records without objects.

    Args:
        path: The folder. Files that are no pictures by their suffix are left out.

    Raises:
        InputError: If it holds none.
    """

    def __init__(self, path: Path) -> None:
        self.path = self.root = path
        Image.init()
        self._names = sorted(
            file.relative_to(path).as_posix()
            for file in path.rglob("*")
            if file.suffix.lower() in Image.EXTENSION and file.is_file()
        )
        if not self._names:
            raise InputError(f"{path}: no pictures in this folder or below")

    @override
    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    @override
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        """Return one picture as a record; its size is the upright one.

        Raises:
            RecordError: If the picture cannot be read.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return picture_record(self.root, self._names[index])
