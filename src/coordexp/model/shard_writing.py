"""Weights written to safetensors files, one tensor after the other.

What is kept of another checkpoint is copied in small pieces; what is new is computed when its turn
comes and forgotten when it is written. So the memory in use is that of one tensor, however large
the checkpoint is. `shards` says how the files are laid out, and reads them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from coordexp.errors import CoordExpError
from coordexp.files import write_text
from coordexp.model.shards import (
    DTYPES,
    INDEX_FILE,
    LENGTH_BYTES,
    SINGLE_FILE,
    StoredTensor,
    bytes_of,
)

SHARD_BYTES = 5_000_000_000
"""What a shard holds at most, unless one tensor alone is larger."""

_CODES = {dtype: code for code, dtype in DTYPES.items()}


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
        yield bytes_of(tensor.contiguous())


AnyTensor = StoredTensor | NewTensor


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
        write_text(directory / INDEX_FILE, text)


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
    text += b" " * (-len(text) % LENGTH_BYTES)
    file.write(len(text).to_bytes(LENGTH_BYTES, "little"))
    file.write(text)
    for tensor in ordered:
        for piece in tensor.pieces():
            file.write(piece)


def _alignment(tensor: AnyTensor) -> int:
    """Return the bytes of one element."""
    if tensor.code in DTYPES:
        return DTYPES[tensor.code].itemsize
    return tensor.num_bytes // max(prod(tensor.shape), 1)
