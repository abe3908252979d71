"""Answers kept on disk while a run goes on, so that it can be stopped and started again.

Beside `p.jsonl` each rank appends to a part of its own, `p.jsonl.part0`, `p.jsonl.part1`, ...:
first a line that says what the run is, then a line for each image with the key of its record. A
line that was cut short by the end of a process is left out, and written over by that rank. When
every image has its line, rank 0 joins the parts in the order of the data and `p.jsonl` appears.

Keys tell records apart by what they are and not by their place: who takes a record out, or puts one
in, keeps the answers to all others.

Of what the parts hold, 24 bytes a line are in memory, and one line while it is read.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from coordexp.data.files.jsonl import encode_row
from coordexp.errors import InputError
from coordexp.identity import Identity
from coordexp.inference.run.kept_lines import KeptLine, KeptLines

Row = Mapping[str, object]
_ROW, _UNREAD = "row", "unread"


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
        self._files = _parts_of(out)
        self._lines = KeptLines(self._read())

    def is_done(self, key: str) -> bool:
        """Return whether a record has its line."""
        return self._lines.find(_kept(_ROW, key)) is not None

    def row(self, key: str) -> dict[str, Any] | None:
        """Return the line of a record, None where it has none."""
        row: dict[str, Any] | None = self._value(_ROW, key)
        return row

    def unread(self, key: str) -> str | None:
        """Return why a picture could not be read, None where that is not known."""
        why: str | None = self._value(_UNREAD, key)
        return why

    def writer(self, rank: int) -> "PartWriter":
        """Return what appends to a rank's part."""
        path = self._out.with_name(f"{self._out.name}.part{rank}")
        return PartWriter(path, self._header)

    def remove(self) -> None:
        """Delete the parts."""
        for path in _parts_of(self._out):
            path.unlink()

    def _read(self) -> Iterator[tuple[str, KeptLine]]:
        for number, path in enumerate(self._files):
            for offset, line in _whole_lines(path):
                if offset == 0:
                    self._check_header(path, line)
                    continue
                entry = json.loads(line)
                kind = _ROW if _ROW in entry else _UNREAD
                yield _kept(kind, entry["key"]), KeptLine(number, offset)

    def _value(self, kind: str, key: str) -> Any:  # noqa: ANN401 - any JSON value
        place = self._lines.find(_kept(kind, key))
        if place is None:
            return None
        with self._files[place.file].open("rb") as file:
            file.seek(place.offset)
            return json.loads(file.readline())[kind]

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


def _kept(kind: str, key: str) -> str:
    return f"{kind} {key}"


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
