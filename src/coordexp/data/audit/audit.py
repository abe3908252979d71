"""Everything that is wrong, or looks wrong, with files of records, found in one pass.

Rules of the contract are in `rules`, guesses in `suspicion` and `repeats`, the
report in `findings`; `fast_path` makes it fast. Nothing stops at the first fault.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.audit import rules
from coordexp.data.audit.fast_path import Frame, Sight, SightedObject
from coordexp.data.audit.findings import AuditReport, FileCounts, Place
from coordexp.data.audit.pictures import PictureLook, chat_image_fault, image_fault, shape_fault
from coordexp.data.audit.repeats import RepeatWatch
from coordexp.data.audit.rules import Fault
from coordexp.data.audit.suspicion import Indexed, Suspicion
from coordexp.data.contract.chat import parse_chat
from coordexp.data.contract.json_line import parse_json_line
from coordexp.data.contract.record import Record, parse_record
from coordexp.data.files.jsonl import lines_of
from coordexp.data.files.written_alphabet import check_alphabet
from coordexp.errors import InputError, RecordError


def audit_files(
    paths: Sequence[Path],
    *,
    images: bool,
    decode: bool = True,
    alphabet: CoordAlphabet = SPEC_ALPHABET,
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
        self._sight = Sight(alphabet)
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
        except RecordError as error:
            self._add_all(line, rules.broken_line_faults(raw, error, self._alphabet))
            return
        frame = self._sight.frame(data) if isinstance(data, dict) else None
        if isinstance(data, dict) and "messages" in data:
            self._audit_chat(line, raw, data)
            return
        if frame is None:
            try:
                frame = self._slowly_framed(data)
            except RecordError:
                self._add_all(line, rules.record_faults(data, self._alphabet))
                self._counts.objects += rules.object_count(data)
                return
        self._audit_objects(line, frame)
        self._repeats.watch_record(line, raw, frame.image, frame.prompt)
        self._audit_shape(line, frame.resized or (frame.width, frame.height))
        if self._look is not PictureLook.NOT:
            self._audit_image(line, frame)

    def _slowly_framed(self, data: object) -> Frame:
        """Return a record's frame by the contract itself."""
        if not isinstance(data, dict) or not isinstance(rows := data.get("objects"), list):
            raise RecordError("no frame")
        record = parse_record({**data, "objects": []}, self._alphabet)
        size = (record.width, record.height)
        return Frame(record.image, *size, rows, record.prompt, record.resized)

    def _audit_objects(self, line: int, frame: Frame) -> None:
        _, width, height, rows, *_ = frame
        self._counts.objects += len(rows)
        good: list[Indexed] = []
        sighted = self._sight.sighted
        for index, row in enumerate(rows):
            item = sighted(row, width, height) or self._slowly_sighted(line, index, row, frame)
            if item is not None:
                good.append((index, item))
        self._suspicion.watch(line, width, height, good)
        self._repeats.watch_descs(line, good)

    def _slowly_sighted(
        self, line: int, index: int, row: object, frame: Frame
    ) -> SightedObject | None:
        """Return an object by the contract itself, or report what is wrong with it."""
        alone = {
            "images": [frame.image],
            "width": frame.width,
            "height": frame.height,
            "objects": [row],
        }
        faults = rules.record_faults(alone, self._alphabet)
        self._add_all(line, [fault._replace(obj=index) for fault in faults])
        if faults:
            return None
        (item,) = parse_record(alone, self._alphabet).objects
        geometry = item.geometry
        return SightedObject(
            item.desc,
            geometry.kind,
            geometry.values,
            is_bins=geometry.unit == "bin",
            is_taught=item.marks.is_taught,
        )

    def _audit_chat(self, line: int, raw: bytes, data: dict[str, object]) -> None:
        try:
            chat = parse_chat(data, self._alphabet)
        except RecordError as error:
            self._add(line, rules.chat_fault(data, error, self._alphabet))
            return
        self._repeats.watch_chat(line, raw, chat.images)
        for image in chat.images if self._look is not PictureLook.NOT else ():
            self._open(line, (image,), partial(chat_image_fault, image=image, look=self._look))

    def _audit_shape(self, line: int, size: tuple[int, int]) -> None:
        fault = shape_fault(*size)
        if fault is not None:
            self._add(line, fault)

    def _audit_image(self, line: int, frame: Frame) -> None:
        image, width, height, _, _, resized = frame
        record = Record((image,), width, height, (), resized=resized)
        key = (image, width, height, resized)
        self._open(line, key, partial(image_fault, record=record, look=self._look))

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
        place = Place(self._counts.path, line, fault.obj, fault.message)
        self._report.add(fault.rule, place)
