"""Reading and writing JSONL files: random access at flat memory, errors with file and line.

UTF-8, one JSON object a line, lines end with LF or CRLF. Blank lines at the end of a file are fine;
a blank line anywhere else is an error, for it is where a record got lost. A byte order mark is
skipped. Compressed files are refused: there is no reading them from the middle.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar, overload

from typing_extensions import override

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.chat import Sample, parse_sample
from coordexp.data.contract.json_line import BLANK, encode_row, parse_json_line
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.files.written_alphabet import check_alphabet
from coordexp.errors import CoordExpError, InputError, RecordError
from coordexp.files import whole_file

_GZIP = b"\x1f\x8b"
# A record of a thousand polygons has a few hundred kilobytes. Who writes a whole dataset as one
# JSON array would wait for it to be read, and then be told that it is no record.
LONGEST_LINE_BYTES = 16 * 2**20


__all__ = [
    "JsonlFile",
    "RecordFile",
    "SampleFile",
    "encode_row",
    "parse_json_line",
    "read_lines",
    "read_rows",
    "write_jsonl",
]

Row = TypeVar("Row")


class JsonlFile(Sequence[Row]):
    """A JSONL file, read line by line through an index of byte offsets.

    Memory is eight bytes a line, whatever the file's size. A line is parsed and checked when it is
    asked for.

    Args:
        path: The JSONL file; image paths are relative to its folder.
        parse: Makes of a decoded line what it holds.

    Raises:
        InputError: If the file cannot be read, or is empty.
    """

    def __init__(self, path: Path, parse: Callable[[object], Row]) -> None:
        self.path = path
        self.root = path.parent
        self._parse = parse
        self._offsets = _line_offsets(path)

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.path)

    def root_of(self, index: int) -> Path:  # noqa: ARG002 - the same for every line
        """Return the folder that image paths of a line are relative to."""
        return self.root

    def place_of(self, index: int) -> tuple[Path, int]:
        """Return file and 1-based line of an index."""
        return self.path, range(len(self))[index] + 1

    @override
    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    @override
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        """Return what one line holds.

        Raises:
            RecordError: If the line breaks the contract; it names file, line and object.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        return self._parsed(self._line(position), position + 1)

    @override
    def __iter__(self) -> Iterator[Row]:
        """Yield what every line holds; the file is read in one go."""
        rows = read_lines(self.path)
        for _, (number, line) in zip(self._offsets, rows, strict=False):
            yield self._parsed(line, number)

    def _parsed(self, line: bytes, number: int) -> Row:
        try:
            return self._parse(parse_json_line(line))
        except RecordError as error:
            raise error.at(self.path, number) from None

    def _line(self, position: int) -> bytes:
        # Opened anew each time: the object stays picklable for data workers, and no handle leaks
        # into forks.
        try:
            with self.path.open("rb") as file:
                file.seek(self._offsets[position])
                return file.readline()
        except OSError as error:
            raise _unreadable(self.path, error) from None


class RecordFile(JsonlFile[Record]):
    """A JSONL file of records.

    Args:
        path: The JSONL file; image paths are relative to its folder.
        alphabet: Of the coord tokens in it.

    Raises:
        InputError: If the file cannot be read, is empty, or was prepared in another alphabet.
    """

    def __init__(self, path: Path | str, alphabet: CoordAlphabet) -> None:
        check_alphabet(Path(path), alphabet)
        super().__init__(Path(path), partial(parse_record, alphabet=alphabet))


class SampleFile(JsonlFile[Sample]):
    """A JSONL file of records and chats, for training.

    Args:
        path: The JSONL file; image paths are relative to its folder.
        alphabet: Of the coord tokens in it.

    Raises:
        InputError: If the file cannot be read, is empty, or was prepared in another alphabet.
    """

    def __init__(self, path: Path | str, alphabet: CoordAlphabet) -> None:
        check_alphabet(Path(path), alphabet)
        super().__init__(Path(path), partial(parse_sample, alphabet=alphabet))


def read_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Yield each line's 1-based number and JSON value.

    Raises:
        InputError: If the file cannot be read.
        RecordError: If a line is not JSON; it names file and line.
    """
    for number, line in read_lines(path):
        try:
            value = parse_json_line(line)
        except RecordError as error:
            raise error.at(path, number) from None
        yield number, value


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its 1-based number; blank ones at the end are left out.

    Raises:
        InputError: If the file cannot be read.
        RecordError: If a blank line stands elsewhere, or a line is longer than any record.
    """
    blank_from = None
    try:
        with path.open("rb") as file:
            for number, line in enumerate(lines_of(file, path), start=1):
                if line.isspace():
                    blank_from = blank_from or number
                elif blank_from is not None:
                    raise RecordError(BLANK, file=path, line=blank_from)
                else:
                    yield number, line
    except OSError as error:
        raise _unreadable(path, error) from None


def lines_of(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the lines of an open file, one in memory at a time.

    Raises:
        InputError: If the file is compressed.
        RecordError: If a line is longer than any record; it names file and line.
    """
    number = 0
    while line := file.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        if number == 1 and line.startswith(_GZIP):
            raise InputError(
                f"{path}: is gzip-compressed; unpack it first (gunzip), for records are read from "
                "any place of the file"
            )
        if len(line) > LONGEST_LINE_BYTES:
            raise RecordError(
                f"the line is longer than {LONGEST_LINE_BYTES // 2**20} MiB; expected one record a "
                "line, not a JSON array of them",
                file=path,
                line=number,
            )
        yield line


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    """Write rows as JSONL, all of them or none, and return their number.

    The file appears under its name when it is complete; an error leaves what was there before.

    Raises:
        CoordExpError: If the file cannot be written.
        InputError: If a row holds NaN or half a surrogate pair.
    """
    count = 0
    try:
        with whole_file(path) as file:
            for row in rows:
                count += 1
                file.write(_encoded(row, path, count))
    except OSError as error:
        raise CoordExpError(f"{path}: cannot be written: {error}") from None
    return count


def _encoded(row: Mapping[str, object], path: Path, number: int) -> bytes:
    try:
        return encode_row(row)
    except ValueError as error:
        raise InputError(f"{path}: row {number} cannot be written as JSON: {error}") from None


def _line_offsets(path: Path) -> "array[int]":
    offsets = array("q")
    position = blank_tail = 0
    try:
        with path.open("rb") as file:
            for line in lines_of(file, path):
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
