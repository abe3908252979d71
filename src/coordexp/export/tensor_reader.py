"""The tensors of a checkpoint through safetensors' own reader, a block of rows at a time.

Not `coordexp.model.shards`, which the writing reads with: a wrong place in a file would be wrong
there and here alike, and look right.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.model.shards import INDEX_FILE, SINGLE_FILE

BLOCK_NUMBERS = 1 << 20
"""Numbers in a block of rows: 8 MB in float64."""


class _Slice(Protocol):
    def get_dtype(self) -> str: ...

    def get_shape(self) -> list[int]: ...

    def __getitem__(self, part: slice) -> Tensor: ...


class _File(Protocol):
    def keys(self) -> list[str]: ...

    def get_slice(self, name: str) -> _Slice: ...

    def get_tensor(self, name: str) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class ReadTensor:
    """A tensor in an open file.

    Args:
        name: In the checkpoint.
        dtype: As safetensors spells it.
        shape: As in torch.
        file: That holds it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: _File

    @property
    def kind(self) -> str:
        """The dtype and shape, to be read."""
        return f"{self.dtype} {list(self.shape)}"

    def blocks(self) -> Iterator[slice]:
        """Yield parts of the first dimension, of about `BLOCK_NUMBERS` numbers each."""
        rows = self.shape[0] if self.shape else 1
        step = max(BLOCK_NUMBERS // max(prod(self.shape[1:]), 1), 1)
        for first in range(0, rows, step):
            yield slice(first, min(first + step, rows))

    def rows(self, part: slice) -> Tensor:
        """Return a part of the first dimension; a single number is a row of one."""
        if not self.shape:
            return self.file.get_tensor(self.name).reshape(1)
        return self.file.get_slice(self.name)[part]

    def whole(self) -> Tensor:
        """Return all of it, in memory of its own."""
        return self.file.get_tensor(self.name).clone()


def open_checkpoint(directory: Path, files: ExitStack) -> Mapping[str, ReadTensor]:
    """Return a model's tensors by name.

    Raises:
        CoordExpError: If there are none, a file cannot be read, or the index is wrong about it.
    """
    names = weight_files(directory)
    found = {name: open_tensors(directory / name, files) for name in names}
    if names != [SINGLE_FILE]:
        held = {(name, file) for file, tensors in found.items() for name in tensors}
        if wrong := sorted(held ^ _places(directory).items()):
            raise CoordExpError(f"{INDEX_FILE}: is wrong about {wrong[0][0]} in {wrong[0][1]}")
    return {name: tensor for tensors in found.values() for name, tensor in tensors.items()}


def open_tensors(path: Path, files: ExitStack) -> Mapping[str, ReadTensor]:
    """Return the tensors of one file by name.

    Raises:
        CoordExpError: If it cannot be read.
    """
    try:
        file: _File = files.enter_context(safe_open(path, framework="pt"))
    except (OSError, SafetensorError) as error:
        raise CoordExpError(f"{path.name}: cannot be read: {error}") from None
    found = {}
    for key in file.keys():  # noqa: SIM118 - no mapping
        part = file.get_slice(key)
        found[key] = ReadTensor(key, part.get_dtype(), tuple(part.get_shape()), file)
    return found


def weight_files(directory: Path) -> list[str]:
    """Return the names of the files that a model's weights are in, as transformers chooses them.

    Raises:
        CoordExpError: If there are none.
    """
    if (directory / SINGLE_FILE).is_file():
        return [SINGLE_FILE]
    return sorted(set(_places(directory).values()))


def _places(directory: Path) -> dict[str, str]:
    try:
        index = json.loads((directory / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CoordExpError(f"{INDEX_FILE}: cannot be read: {error}") from None
    places: dict[str, str] = index["weight_map"]
    return places
