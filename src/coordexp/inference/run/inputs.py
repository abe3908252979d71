"""What is predicted on: a file of records, or pictures without any: one, or a folder."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.record import Record, record_to_json
from coordexp.data.files.image import picture_record
from coordexp.data.files.jsonl import RecordFile
from coordexp.errors import InputError, RecordError
from coordexp.rendering.encode import Encoder

_KEY_BYTES = 12


class PictureInput(Protocol):
    """Records, and the folder that their pictures are relative to."""

    @property
    def root(self) -> Path:
        """The folder."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Record: ...
    def key_of(self, index: int) -> str:
        """Return what tells a record from all others, and not where it stands."""
        ...

    def error_at(self, index: int, error: RecordError) -> RecordError:
        """Return an error, placed at a record."""
        ...


def load_source(path: Path, alphabet: CoordAlphabet, *, prompt: str | None = None) -> PictureInput:
    """Return the records of a JSONL file, checked, or a picture, or those of a folder.

    Args:
        path: What it is is seen by its name, or on the disk.
        alphabet: Of the records' coord tokens.
        prompt: Asks this of pictures, instead of what the model was trained on.

    Raises:
        RecordError: If a record breaks the contract.
        InputError: If there is nothing to predict on, or the prompt cannot be asked.
    """
    if prompt is not None and not prompt.strip():
        raise InputError("--prompt: expected a question, got nothing but spaces")
    if path.is_dir():
        return Pictures(path, _pictures_below(path), prompt)
    if is_picture(path):
        if not path.is_file():
            raise InputError(f"{path}: no such picture")
        return Pictures(path.parent, [path.name], prompt)
    if prompt is not None:
        raise InputError(
            f"{path}: --prompt asks about a picture or a folder of them; records are asked what "
            'training asked, or each its own "prompt"'
        )
    return RecordSource(RecordFile(path, alphabet), alphabet)


def is_picture(path: Path) -> bool:
    """Return whether a path is a picture's, by its suffix."""
    Image.init()
    return path.suffix.lower() in Image.EXTENSION


def _pictures_below(path: Path) -> Sequence[str]:
    names = sorted(
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if is_picture(file) and file.is_file()
    )
    if not names:
        raise InputError(f"{path}: no pictures in this folder or below")
    return names


def longest_prompt(source: PictureInput, encoder: Encoder) -> int:
    """Return the tokens of the longest prompt; what cannot be asked about has none."""
    longest = 0
    for index in range(len(source)):
        try:
            longest = max(longest, encoder.prompt_length(source[index]))
        except RecordError:
            continue  # it is told of when its turn comes
    return longest


class RecordSource:
    """The records of a JSONL file.

    Args:
        records: The file; every line of it is read here, which checks it.
        alphabet: Of its coord tokens.

    Raises:
        RecordError: If a record breaks the contract.
    """

    def __init__(self, records: RecordFile, alphabet: CoordAlphabet) -> None:
        self.root = records.root
        self._records = records
        self._keys = bytearray()  # in a list, those of a million records would take 100 MB
        for record in records:
            content = json.dumps(record_to_json(record, alphabet), sort_keys=True)
            self._keys += hashlib.blake2b(content.encode(), digest_size=_KEY_BYTES).digest()

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self._records[index]

    def key_of(self, index: int) -> str:
        """Return a digest of all that a record holds."""
        return self._keys[_KEY_BYTES * index : _KEY_BYTES * (index + 1)].hex()

    def error_at(self, index: int, error: RecordError) -> RecordError:
        """Return an error with file and line."""
        return error if error.file else error.at(self._records.path, index + 1)


class Excerpt:
    """Some of a source's records.

    Args:
        source: Whose.
        indices: Which, in this order.
    """

    def __init__(self, source: PictureInput, indices: Sequence[int]) -> None:
        self.root = source.root
        self._source = source
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        return self._source[self._indices[index]]

    def key_of(self, index: int) -> str:
        """Return the key that the record has in its source."""
        return self._source.key_of(self._indices[index])

    def error_at(self, index: int, error: RecordError) -> RecordError:
        """Return an error, placed as in the source."""
        return self._source.error_at(self._indices[index], error)


class Pictures:
    """Pictures by name, as records without objects.

    Args:
        root: Their folder.
        names: Their paths in it.
        prompt: What is asked of each, None for what the model was trained on.
    """

    def __init__(self, root: Path, names: Sequence[str], prompt: str | None) -> None:
        self.root = root
        self._names = names
        self._prompt = prompt

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Record:
        """Return one picture as a record; its size is the upright one.

        Raises:
            RecordError: If the picture cannot be read.
        """
        return replace(picture_record(self.root, self._names[index]), prompt=self._prompt)

    def key_of(self, index: int) -> str:
        """Return the picture's path in the folder."""
        return self._names[index]

    def error_at(self, index: int, error: RecordError) -> RecordError:
        """Return an error with the picture's path."""
        return RecordError(error.message, file=self.root / self._names[index])
