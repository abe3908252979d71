"""Answers kept on disk while a run goes on, so that it can be stopped and started again.

Beside `p.jsonl` each rank appends to a part of its own, `p.jsonl.part0`, `p.jsonl.part1`, ...:
first a line that says what the run is, then a line for each image with the key of its record. A
line that was cut short by the end of a process is left out, and written over by that rank. When
every image has its line, rank 0 joins the parts in the order of the data and `p.jsonl` appears.

Keys tell records apart by what they are and not by their place: who takes a record out, or puts one
in, keeps the answers to all others.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from coordexp.data.files.jsonl import encode_row, write_jsonl
from coordexp.errors import InputError
from coordexp.identity import Identity

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part holds the line of an image."""

    path: Path
    offset: int


class Parts:
    """The parts beside an output file.

    Args:
        out: The file that they will become.
        run: What the run is, as JSON values; parts of another run are not gone on with.

    Raises:
        InputError: If there are parts of another run.
    """

    def __init__(self, out: Path, run: Row) -> None:
        self._out = out
        self._run = Identity(run)
        self._header = encode_row({"run": run})
        self._places: dict[str, _Place] = {}
        for path in self._paths():
            for offset, line in _whole_lines(path):
                if offset == 0:
                    self._check_header(path, line)
                elif "row" in (entry := json.loads(line)):
                    self._places[entry["key"]] = _Place(path, offset)

    @property
    def done(self) -> frozenset[str]:
        """The keys of the records that have their line."""
        return frozenset(self._places)

    def writer(self, rank: int) -> "PartWriter":
        """Return what appends to a rank's part."""
        return PartWriter(self._path(rank), self._header)

    def join(self, keys: Iterable[str]) -> int:
        """Write the output file and return the number of its lines.

        Args:
            keys: Of the records, in the order of the data; those without a line are passed over.
        """
        return write_jsonl(self._out, self.rows(keys))

    def rows(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the lines in the order of the data."""
        for key in keys:
            place = self._places.get(key)
            if place is None:
                continue
            with place.path.open("rb") as file:
                file.seek(place.offset)
                yield json.loads(file.readline())["row"]

    def unread(self, keys: Iterable[str]) -> list[str]:
        """Return what was wrong with each picture that could not be read, in order."""
        found: dict[str, str] = {}
        for path in self._paths():
            for offset, line in _whole_lines(path):
                if offset and "unread" in (entry := json.loads(line)):
                    found[entry["key"]] = entry["unread"]
        return [found[key] for key in keys if key in found and key not in self._places]

    def remove(self) -> None:
        """Delete the parts."""
        for path in self._paths():
            path.unlink()

    def _path(self, rank: int) -> Path:
        return self._out.with_name(f"{self._out.name}.part{rank}")

    def _paths(self) -> Sequence[Path]:
        return _parts_of(self._out)

    def _check_header(self, path: Path, line: bytes) -> None:
        before = Identity(json.loads(line)["run"])
        if changes := before.told_changes(self._run):
            raise InputError(
                f"{path}: holds answers of another run ({changes}); "
                f"delete {self._out.name}.part* to begin anew, or choose another --out"
            )


class PartWriter:
    """Appends lines to a part; a batch's lines are on disk when `append` returns.

    Args:
        path: The part.
        header: Its first line.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        whole = sum(len(line) for _, line in _whole_lines(path))
        self._file.truncate(whole)
        if whole == 0:
            self._file.write(header)

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, entries: Sequence[Row]) -> None:
        """Write the lines of a batch."""
        self._file.write(b"".join(encode_row(entry) for entry in entries))
        self._file.flush()
        os.fsync(self._file.fileno())


def is_begun(out: Path) -> bool:
    """Return whether a run that was stopped has left parts beside an output file."""
    return bool(_parts_of(out))


def _parts_of(out: Path) -> Sequence[Path]:
    name = re.compile(re.escape(out.name) + r"\.part\d+")
    if not out.parent.is_dir():
        return []
    return sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a part with their offsets, but for one that was cut short."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield offset, line
            offset += len(line)
