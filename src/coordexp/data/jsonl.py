"""Reading and writing JSONL files: random access at flat memory, errors with file and line.

UTF-8, one JSON object a line, lines end with LF or CRLF. Blank lines at the end of a file are fine;
a blank line anywhere else is an error, for it is where a record got lost. A byte order mark is
skipped.
"""

import json
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import overload

from typing_extensions import override

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.record import Record, parse_record
from coordexp.errors import InputError, RecordError

_BLANK = "a blank line; expected one JSON object a line"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class RecordFile(Sequence[Record]):
    """A JSONL file of records, read line by line through an index of byte offsets.

    Memory is eight bytes a record, whatever the file's size. A record is parsed and checked when it
    is asked for.

    Args:
        path: The JSONL file; image paths are relative to its folder.
        alphabet: Of the coord tokens in it.

    Raises:
        InputError: If the file cannot be read, or is empty.
    """

    def __init__(self, path: Path, alphabet: CoordAlphabet = SPEC_ALPHABET) -> None:
        self.path = path
        self.root = path.parent
        self._alphabet = alphabet
        self._offsets = _line_offsets(path)

    @override
    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    @override
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        """Return one record.

        Raises:
            RecordError: If the line breaks the contract; it names file, line and object.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        try:
            return parse_record(parse_json_line(self._line(position)), self._alphabet)
        except RecordError as error:
            raise error.at(self.path, position + 1) from None

    def _line(self, position: int) -> bytes:
        # Opened anew each time: the object stays picklable for data workers, and no handle leaks
        # into forks.
        try:
            with self.path.open("rb") as file:
                file.seek(self._offsets[position])
                return file.readline()
        except OSError as error:
            raise _unreadable(self.path, error) from None


def parse_json_line(line: bytes) -> object:
    """Return the JSON value of one line.

    Raises:
        RecordError: If it is blank, not UTF-8 or not JSON; if it holds NaN or Infinity, which JSON
            does not have, or one key twice in an object, of which `json` would keep the last.
    """
    flaws: list[_Flaw] = []

    def refuse_constant(name: str) -> _Flaw:
        flaws.append(_Flaw(f"expected finite numbers, got {name}"))
        return flaws[-1]

    def refuse_doubled_keys(pairs: list[tuple[str, object]]) -> object:
        row = dict(pairs)
        if len(row) == len(pairs):
            return row
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        flaws.append(_Flaw(f"the key {key!r} stands twice in one object"))
        return flaws[-1]

    text = _decoded(line)
    try:
        value = json.loads(
            text, parse_constant=refuse_constant, object_pairs_hook=refuse_doubled_keys
        )
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON: {error.msg} at column {error.colno}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise RecordError(f"not JSON that can be read: {error}") from None
    except RecursionError:
        raise RecordError("not a record: nested too deeply") from None
    if flaws:
        raise RecordError(flaws[0].message, obj=_object_with(flaws[0], value))
    return value


def read_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Yield each line's 1-based number and JSON value.

    Raises:
        InputError: If the file cannot be read.
        RecordError: If a line is not JSON; it names file and line.
    """
    blank_from = None
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.isspace():
                    blank_from = blank_from or number
                    continue
                if blank_from is not None:
                    raise RecordError(_BLANK, file=path, line=blank_from)
                try:
                    value = parse_json_line(line)
                except RecordError as error:
                    raise error.at(path, number) from None
                yield number, value
    except OSError as error:
        raise _unreadable(path, error) from None


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    """Write rows as JSONL, all of them or none, and return their number.

    The file appears under its name when it is complete; an error leaves what was there before.

    Raises:
        InputError: If the file cannot be written, or a row holds NaN or half a surrogate pair.
    """
    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for row in rows:
                count += 1
                file.write(_encoded(row, path, count))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return count


class _Flaw:
    """What stands, while a line is decoded, where JSON broke a rule of ours."""

    def __init__(self, message: str) -> None:
        self.message = message


def _decoded(line: bytes) -> str:
    if not line.strip():
        raise RecordError(_BLANK)
    try:
        return line.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8 text: {error.reason} at byte {error.start + 1}") from None


def _object_with(flaw: _Flaw, value: object) -> int | None:
    rows = value.get("objects") if isinstance(value, dict) else None
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        parts = [row]
        while parts:
            part = parts.pop()
            if part is flaw:
                return index
            if isinstance(part, dict):
                parts.extend(part.values())
            elif isinstance(part, list):
                parts.extend(part)
    return None


def _encoded(row: Mapping[str, object], path: Path, number: int) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except ValueError as error:
        raise InputError(f"{path}: row {number} cannot be written as JSON: {error}") from None


def _line_offsets(path: Path) -> "array[int]":
    offsets = array("q")
    position = blank_tail = 0
    try:
        with path.open("rb") as file:
            for line in file:
                offsets.append(position)
                position += len(line)
                blank_tail = blank_tail + 1 if line.isspace() else 0
    except OSError as error:
        raise _unreadable(path, error) from None
    del offsets[len(offsets) - blank_tail :]
    if not offsets:
        raise InputError(f"{path}: the file is empty; expected one record a line")
    return offsets


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read: {error.strerror or error}")
