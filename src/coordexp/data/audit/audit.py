"""Everything that is wrong, or looks wrong, with files of records, found in one pass.

A line that keeps the contract is read as training reads it; of one that does not, every fault is
asked for. Guesses are in `suspicion` and `repeats`, the report in `findings`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.audit.findings import AuditReport, FileCounts, Place
from coordexp.data.audit.pictures import PictureLook, chat_image_fault, image_fault, shape_fault
from coordexp.data.audit.repeats import RepeatWatch
from coordexp.data.audit.suspicion import Indexed, Suspicion
from coordexp.data.contract import rules
from coordexp.data.contract.chat import Chat, is_chat, parse_sample, sample_faults
from coordexp.data.contract.faults import Fault
from coordexp.data.contract.json_line import decode_closely, parse_json_line
from coordexp.data.contract.objects import build_object
from coordexp.data.contract.record import Record, build_record
from coordexp.data.files.jsonl import lines_of
from coordexp.data.files.written_alphabet import check_alphabet
from coordexp.errors import InputError, RecordError


def audit_files(
    paths: Sequence[Path],
    *,
    images: bool,
    decode: bool = True,
    alphabet: CoordAlphabet,
) -> AuditReport:
    """Return everything that is wrong with files of records, in pixels or coord tokens, and chats.

    Where nothing is, training and inference can read every record and every picture; what a run's
    own limits refuse, such as the longest example, is not looked at.

    Args:
        paths: JSONL files; pictures that several of them share are reported, as splits of one
            dataset should have none.
        images: Whether to open the pictures.
        decode: Whether to decode their pixels too, which finds damage in the middle of a file;
            else size and end are looked at, many times faster.
        alphabet: Of the coord tokens.

    Raises:
        InputError: If a file cannot be read, or was prepared in another alphabet.
    """
    for path in paths:
        check_alphabet(path, alphabet)
    look = PictureLook.NOT if not images else PictureLook.WHOLE if decode else PictureLook.OUTSIDE
    return _Audit(alphabet, look).of(paths)


class _Audit:
    """One pass over all files."""

    def __init__(self, alphabet: CoordAlphabet, look: PictureLook) -> None:
        self._alphabet = alphabet
        self._look = look
        self._report = AuditReport()
        self._suspicion = Suspicion(self._report.add, alphabet.bins - 1)
        self._repeats = RepeatWatch(self._report.add)
        self._counts = FileCounts(Path())
        self._opened: dict[tuple[object, ...], Fault | None] = {}

    def of(self, paths: Sequence[Path]) -> AuditReport:
        """Return the report on files."""
        for path in paths:
            self._counts = FileCounts(path)
            self._opened = {}
            self._report.files.append(self._counts)
            self._suspicion.start_file(path)
            self._repeats.start_file(path)
            for line, raw in self._lines(path):
                self._counts.records += 1
                self._audit_line(line, raw)
            if not self._counts.records:
                self._add(None, Fault(rules.EMPTY_FILE, "expected one record a line, got none"))
            self._suspicion.end_file()
        self._repeats.conclude()
        return self._report

    def _lines(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, and report blank ones between them."""
        blank: list[int] = []
        try:
            with path.open("rb") as file:
                for number, raw in enumerate(lines_of(file, path), start=1):
                    if raw.isspace():
                        blank.append(number)
                        continue
                    for line in blank:
                        self._add(line, Fault(rules.BLANK_LINE, "a blank line between records"))
                    blank.clear()
                    yield number, raw
        except RecordError as error:  # where one line ends is unknown, so is where the next begins
            self._counts.records += 1
            self._add(error.line, Fault(rules.LONG_LINE, error.message))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None

    def _audit_line(self, line: int, raw: bytes) -> None:
        try:
            data = parse_json_line(raw)
        except RecordError:
            self._add_all(line, _broken_line_faults(raw, self._alphabet))
            return
        try:
            sample = parse_sample(data, self._alphabet)
        except RecordError:
            self._audit_broken(line, raw, data)
            return
        if isinstance(sample, Chat):
            self._audit_chat(line, raw, sample)
        else:
            self._counts.objects += len(sample.objects)
            self._audit_record(line, raw, sample, [*enumerate(sample.objects)])

    def _audit_broken(self, line: int, raw: bytes, data: object) -> None:
        """Report what is wrong with a line, and look at what is right: its other objects."""
        faults = [*sample_faults(data, self._alphabet)]
        self._add_all(line, faults)
        rows = data.get("objects") if isinstance(data, dict) and not is_chat(data) else None
        if not isinstance(data, dict) or not isinstance(rows, list):
            return
        self._counts.objects += len(rows)
        broken = {fault.obj for fault in faults}
        if None not in broken:
            good = [
                (index, build_object(row, self._alphabet))
                for index, row in enumerate(rows)
                if index not in broken
            ]
            record = build_record(data, tuple([item for _, item in good]))
            self._audit_record(line, raw, record, good)

    def _audit_record(
        self, line: int, raw: bytes, record: Record, objects: Sequence[Indexed]
    ) -> None:
        self._suspicion.watch(line, record.width, record.height, objects)
        self._repeats.watch_descs(line, objects)
        self._repeats.watch_record(line, raw, record.image, record.prompt)
        self._audit_shape(line, record.file_size)
        if self._look is not PictureLook.NOT:
            key = (record.image, record.width, record.height, record.resized)
            self._open(line, key, partial(image_fault, record=record, look=self._look))

    def _audit_chat(self, line: int, raw: bytes, chat: Chat) -> None:
        self._repeats.watch_chat(line, raw, chat.images)
        for image in chat.images if self._look is not PictureLook.NOT else ():
            self._open(line, (image,), partial(chat_image_fault, image=image, look=self._look))

    def _audit_shape(self, line: int, size: tuple[int, int]) -> None:
        fault = shape_fault(*size)
        if fault is not None:
            self._add(line, fault)

    def _open(
        self, line: int, key: tuple[object, ...], look: Callable[[Path], Fault | None]
    ) -> None:
        """Look at a picture once, and report what is wrong with it at every line that names it."""
        if key not in self._opened:
            self._opened[key] = look(self._counts.path.parent)
            self._counts.images_checked += 1
        fault = self._opened[key]
        if fault is not None:
            self._add(line, fault)

    def _add_all(self, line: int, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._add(line, fault)

    def _add(self, line: int | None, fault: Fault) -> None:
        place = Place(self._counts.path, line, fault.obj, fault.in_full or fault.message)
        self._report.add(fault.rule, place)


def _broken_line_faults(raw: bytes, alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield every violation of a line whose JSON is refused.

    NaN and keys given twice are refused, and yet the rest of the line can be read.
    """
    data, flaws = decode_closely(raw)
    told: set[int | None] = set()  # objects of which a number has been told that is not finite
    if not any(flaw.rule is rules.NOT_JSON for flaw in flaws):
        for fault in sample_faults(data, alphabet):
            yield fault
            if fault.rule is rules.NOT_FINITE:
                told.add(fault.obj)
    for flaw in flaws:
        if flaw.rule is not rules.NOT_FINITE:
            yield flaw
        elif flaw.obj not in told:
            told.add(flaw.obj)
            yield flaw
