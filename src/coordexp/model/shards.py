"""Weights in safetensors files, read and written one tensor at a time.

A checkpoint has one file, or several and an index::

    model.safetensors                       8 bytes: length of the header
                                            header: JSON, name -> dtype, shape, place
    model-00001-of-00002.safetensors        the tensors' bytes, without gaps
    model-00002-of-00002.safetensors
    model.safetensors.index.json            name -> file, and the total size

`load_weights` reads headers alone. A tensor's bytes are read when they are asked for, and
`write_weights` asks for one tensor after the other: what is kept is copied in small pieces, what is
new is computed when its turn comes and forgotten when it is written. So the memory in use is that
of one tensor, however large the checkpoint is.

Shapes: `V` rows, `D` width.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from coordexp.errors import CheckpointError, CoordExpError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""What a shard holds at most, unless one tensor alone is larger."""

_PIECE_BYTES = 1 << 20
_LENGTH_BYTES = 8
_DTYPES = {
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
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


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
            return _DTYPES[self.code]
        except KeyError:
            raise CheckpointError(
                f"{self.file}: {self.name} has the dtype {self.code}; known: {', '.join(_DTYPES)}"
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
            left = _bytes_of(tensor)
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
class NewTensor:
    """A tensor that is computed when it is written.

    Args:
        name: In the checkpoint.
        dtype: Of what `make` returns.
        shape: Of what `make` returns.
        make: Called once.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def code(self) -> str:
        """The dtype as safetensors spells it."""
        return _CODES[self.dtype]

    @property
    def num_bytes(self) -> int:
        """How many bytes it takes."""
        return prod(self.shape) * self.dtype.itemsize

    def pieces(self) -> Iterator[memoryview]:
        """Compute the tensor and yield its bytes."""
        tensor = self.make()
        if tensor.dtype != self.dtype or tuple(tensor.shape) != self.shape:
            raise ValueError(
                f"{self.name}: expected {self.dtype} {self.shape}, made {tensor.dtype} "
                f"{tuple(tensor.shape)}"
            )
        yield _bytes_of(tensor.contiguous())


AnyTensor = StoredTensor | NewTensor


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
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    metadata: dict[str, str] = header.pop("__metadata__", {})
    tensors = []
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        start = _LENGTH_BYTES + length + begin
        shape = tuple(entry["shape"])
        tensors.append(StoredTensor(name, entry["dtype"], shape, path, start, end - begin))
    return tuple(sorted(tensors, key=lambda tensor: tensor.start)), metadata


def write_weights(
    directory: Path, shards: Sequence[Sequence[AnyTensor]], *, metadata: dict[str, str]
) -> None:
    """Write tensors one after the other; with an index where there are several files.

    Args:
        directory: Existing, without weights.
        shards: The tensors of each file. Within it those of wide dtypes come first, so that every
            tensor is aligned.
        metadata: For every file's header.

    Raises:
        CoordExpError: If the disk does not take them.
    """
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = SINGLE_FILE
        if len(shards) > 1:
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        places |= {tensor.name: name for tensor in shard}
        try:
            with (directory / name).open("wb") as file:
                _write_shard(file, shard, metadata)
        except OSError as error:  # a full disk does not say where
            raise CoordExpError(f"{directory / name}: cannot be written: {error}") from None
    if len(shards) > 1:
        every = [tensor for shard in shards for tensor in shard]
        content = {
            "metadata": {
                "total_parameters": sum(prod(tensor.shape) for tensor in every),
                "total_size": sum(tensor.num_bytes for tensor in every),
            },
            "weight_map": dict(sorted(places.items())),
        }
        text = json.dumps(content, indent=2) + "\n"
        (directory / INDEX_FILE).write_text(text, encoding="utf-8")


def split_by_size(
    tensors: Sequence[AnyTensor], *, max_bytes: int = SHARD_BYTES
) -> list[list[AnyTensor]]:
    """Return tensors in shards of at most `max_bytes`, their order kept.

    A tensor that is larger has a shard of its own.
    """
    shards: list[list[AnyTensor]] = []
    room = -1
    for tensor in tensors:
        if tensor.num_bytes > room:
            shards.append([])
            room = max_bytes
        shards[-1].append(tensor)
        room -= tensor.num_bytes
    return shards


def _bytes_of(tensor: Tensor) -> memoryview:
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


def _write_shard(file: BinaryIO, shard: Sequence[AnyTensor], metadata: dict[str, str]) -> None:
    ordered = sorted(shard, key=_alignment, reverse=True)
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for tensor in ordered:
        end = offset + tensor.num_bytes
        header[tensor.name] = {
            "dtype": tensor.code,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
    file.write(text)
    for tensor in ordered:
        for piece in tensor.pieces():
            file.write(piece)


def _alignment(tensor: AnyTensor) -> int:
    """Return the bytes of one element."""
    if tensor.code in _DTYPES:
        return _DTYPES[tensor.code].itemsize
    return tensor.num_bytes // max(prod(tensor.shape), 1)
