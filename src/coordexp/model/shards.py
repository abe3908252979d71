"""Weights in safetensors files, read one tensor at a time; `shard_writing` writes them.

A checkpoint has one file, or several and an index::

    model.safetensors                       8 bytes: length of the header
                                            header: JSON, name -> dtype, shape, place
    model-00001-of-00002.safetensors        the tensors' bytes, without gaps
    model-00002-of-00002.safetensors
    model.safetensors.index.json            name -> file, and the total size

`load_weights` reads headers alone; a tensor's bytes are read when they are asked for.

Shapes: `V` rows, `D` width.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from coordexp.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_PIECE_BYTES = 1 << 20
LENGTH_BYTES = 8
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""By the codes that safetensors uses."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file.

    Args:
        name: In the checkpoint.
        code: Its dtype as safetensors spells it, such as `BF16`.
        shape: As in torch.
        file: Where its bytes are.
        start: The first of them.
        num_bytes: How many.
    """

    name: str
    code: str
    shape: tuple[int, ...]
    file: Path
    start: int
    num_bytes: int

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in torch's words.

        Raises:
            CheckpointError: If torch has no such dtype.
        """
        try:
            return DTYPES[self.code]
        except KeyError:
            raise CheckpointError(
                f"{self.file}: {self.name} has the dtype {self.code}; known: {', '.join(DTYPES)}"
            ) from None

    def rows(self, first: int, stop: int) -> "StoredTensor":
        """Return some rows of a matrix as a tensor of their own, unread as well."""
        row_bytes = self.num_bytes // self.shape[0]
        return replace(
            self,
            shape=(stop - first, *self.shape[1:]),
            start=self.start + first * row_bytes,
            num_bytes=(stop - first) * row_bytes,
        )

    def load(self) -> Tensor:
        """Read the tensor into memory of its own."""
        tensor = torch.empty(self.shape, dtype=self.dtype)
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.start)
            left = bytes_of(tensor)
            while left:
                count = file.readinto(left)
                if not count:
                    raise CheckpointError(f"{self.file}: ends in the middle of {self.name}")
                left = left[count:]
        return tensor

    def load_rows(self, first: int, stop: int) -> Tensor:
        """Read some rows of a matrix, and nothing else of it."""
        return self.rows(first, stop).load()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, in pieces of a megabyte."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            left = self.num_bytes
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise CheckpointError(f"{self.file}: ends in the middle of {self.name}")
                left -= len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a checkpoint.

    Args:
        shards: File by file, in the order of their bytes.
        metadata: What the first file's header says beside them.
    """

    shards: tuple[tuple[StoredTensor, ...], ...]
    metadata: dict[str, str]

    @property
    def by_name(self) -> dict[str, StoredTensor]:
        """Every tensor by its name."""
        return {tensor.name: tensor for shard in self.shards for tensor in shard}


def load_weights(directory: Path) -> Weights:
    """Return a checkpoint's tensors, their bytes unread.

    Where `model.safetensors` and an index are both there, the single file counts, as in
    transformers.

    Raises:
        CheckpointError: If there are no safetensors weights, a file cannot be read, or the index
            does not say what the files hold.
    """
    single, index = directory / SINGLE_FILE, directory / INDEX_FILE
    if single.is_file():
        shard, metadata = read_shard(single)
        return Weights(shards=(shard,), metadata=metadata)
    if not index.is_file():
        raise CheckpointError(
            f"{directory}: neither {SINGLE_FILE} nor {INDEX_FILE} is there; expected safetensors "
            "weights"
        )
    places = _read_index(index)
    headers = [read_shard(directory / name) for name in sorted(set(places.values()))]
    held = {tensor.name: tensor.file.name for shard, _ in headers for tensor in shard}
    if wrong := sorted(held.items() ^ places.items()):
        raise CheckpointError(f"{index}: does not match its files; {wrong[0][0]} first")
    return Weights(shards=tuple(shard for shard, _ in headers), metadata=headers[0][1])


def read_shard(path: Path) -> tuple[tuple[StoredTensor, ...], dict[str, str]]:
    """Return the tensors of one file, in the order of their bytes, and its metadata.

    Raises:
        CheckpointError: If it is no safetensors file, or not a whole one.
    """
    try:
        with safe_open(path, framework="pt"):  # checks places and sizes against the file
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    metadata: dict[str, str] = header.pop("__metadata__", {})
    tensors = []
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        start = LENGTH_BYTES + length + begin
        shape = tuple(entry["shape"])
        tensors.append(StoredTensor(name, entry["dtype"], shape, path, start, end - begin))
    return tuple(sorted(tensors, key=lambda tensor: tensor.start)), metadata


def bytes_of(tensor: Tensor) -> memoryview:
    """Return a contiguous tensor's memory, not a copy of it."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _read_index(path: Path) -> dict[str, str]:
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read as an index: {error!r}") from None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{path}: weight_map: expected names and their files")
    return places
