"""Reading what a model wrote: objects with their places in the text, and what could not be read.

Every text has a result. An object is kept as it is or dropped with a reason; nothing is repaired,
no corner is swapped, no number is clipped. The scanner only moves forward, and after a broken
object goes on at the next `"object_N": {`, so the time is linear in the text.

Not covered: answers in other shapes than `coordexp.rendering.dense_json` writes, such as a bare
list of boxes. They have status `failed`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coordexp.answers.quick_read import quick_objects
from coordexp.answers.scan import (
    DIGITS,
    SPACE,
    BrokenError,
    DropReason,
    Fields,
    Scanner,
    Span,
    is_cut_header,
    next_header,
)
from coordexp.coord_tokens.codec import (
    CoordAlphabet,
    contains_coord_token,
    is_coord_token,
    token_to_int,
)
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.geometry_kinds import KINDS, GeometryKind
from coordexp.data.contract.record import RecordObject
from coordexp.rendering.dense_json import SEPARATORS, render_answer

ParseStatus = Literal["ok", "salvaged", "failed"]


@dataclass(frozen=True, slots=True)
class ParsedObject:
    """One object that could be read. Spans are `(start, end)` offsets into the text.

    Args:
        desc: What it is, escapes undone.
        geometry: Where it is, in bins.
        span: From the key's opening quote to the closing brace, both included.
        desc_span: Of the description between its quotes.
        coord_spans: Of each coordinate without quotes.
    """

    desc: str
    geometry: Geometry
    span: Span
    desc_span: Span
    coord_spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A piece of the answer that became no object.

    Args:
        reason: One of a few fixed phrases, so that they can be counted.
        text: The piece.
    """

    reason: DropReason
    text: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What could be read of an answer.

    Args:
        objects: In the order of the text.
        status: `ok` if the text is exactly what `render_answer` writes, in either JSON format, end
            mark aside; `failed` if there is neither an object nor an empty scene in it; else
            `salvaged`.
        dropped: In the order of the text.
    """

    objects: tuple[ParsedObject, ...]
    status: ParseStatus
    dropped: tuple[Dropped, ...]


def parse_prediction(
    text: str, *, alphabet: CoordAlphabet, coord_tokens: bool, end_marks: Sequence[str]
) -> ParsedAnswer:
    """Return the objects of an answer, whatever the text.

    Args:
        text: What the model wrote; end marks at its end are not looked at.
        alphabet: Number and spelling of the bins.
        coord_tokens: Whether coordinates are coord tokens or plain integers. Quotes around them may
            be missing or too many; the status is `salvaged` then.
        end_marks: Of the model's family. Another family's are text behind the answer.
    """
    end = end_of_answer(text, end_marks)
    quick = _quick_read(text[:end], alphabet, coord_tokens=coord_tokens)
    if quick is not None:
        return quick
    reader = _Reader(text, end, alphabet, coord_tokens=coord_tokens)
    reader.read()
    status: ParseStatus = "failed"
    if _is_rendered(reader, text[:end]):
        status = "ok"
    elif reader.objects or reader.is_empty_scene:
        status = "salvaged"
    return ParsedAnswer(tuple(reader.objects), status, tuple(reader.dropped))


def end_of_answer(text: str, end_marks: Sequence[str]) -> int:
    """Return where an answer ends and nothing follows but end marks."""
    end = bare_end = len(text)
    while True:
        while bare_end and text[bare_end - 1] in SPACE:
            bare_end -= 1
        mark = next((mark for mark in end_marks if text.endswith(mark, 0, bare_end)), None)
        if mark is None:
            return end
        end = bare_end = bare_end - len(mark)


def _quick_read(body: str, alphabet: CoordAlphabet, *, coord_tokens: bool) -> ParsedAnswer | None:
    found = quick_objects(body, alphabet, coord_tokens=coord_tokens)
    if found is None:
        return None
    objects = []
    for desc, kind, bins, span, desc_span, coord_spans in found:
        try:
            _check_shape(kind, bins)
        except BrokenError:
            return None
        geometry = Geometry(kind, bins, "bin")
        objects.append(ParsedObject(desc, geometry, span, desc_span, coord_spans))
    return ParsedAnswer(tuple(objects), "ok", ())


def _is_rendered(reader: "_Reader", body: str) -> bool:
    objects = [RecordObject(desc=item.desc, geometry=item.geometry) for item in reader.objects]
    return any(
        body
        == render_answer(
            objects,
            1,
            1,
            alphabet=reader.alphabet,
            json_format=json_format,
            coord_tokens=reader.coord_tokens,
        )
        for json_format in SEPARATORS
    )


class _Reader:
    """Goes through an answer object by object."""

    def __init__(self, text: str, end: int, alphabet: CoordAlphabet, *, coord_tokens: bool) -> None:
        self.text = text
        self.end = end
        self.alphabet = alphabet
        self.coord_tokens = coord_tokens
        self.objects: list[ParsedObject] = []
        self.dropped: list[Dropped] = []
        self.is_empty_scene = False

    def read(self) -> None:
        """Fill `objects` and `dropped`."""
        header = next_header(self.text, 0, self.end)
        if header is None:
            self._without_objects()
            return
        self._drop("text before the answer", self.text[: header[0]].rstrip().removesuffix("{"))
        done = header[0]
        while header is not None:
            key_at, body_at = header
            self._drop("text between objects", self.text[done:key_at])
            scanner, fields = Scanner(self.text, self.end, body_at, body_at), Fields()
            try:
                fields.scan(scanner)
            except BrokenError as error:
                header = next_header(self.text, scanner.string_at, self.end)
                done = header[0] if header else self.end
                self._drop(error.reason, self.text[key_at:done])
                continue
            done = scanner.pos
            self._keep(fields, (key_at, done))
            header = next_header(self.text, done, self.end)
        self._after_objects(self.text[done : self.end].strip(SPACE + ","))

    def _keep(self, fields: Fields, span: Span) -> None:
        try:
            desc_span, desc = _read_desc(self.text, fields, self.alphabet)
            kind, spans = _only_geometry(fields)
            values = [self.text[start:end] for start, end in spans]
            read_bin = _token_to_bin if self.coord_tokens else _integer_to_bin
            bins = tuple(read_bin(value, self.alphabet) for value in values)
            _check_shape(kind, bins)
        except BrokenError as error:
            self._drop(error.reason, self.text[slice(*span)])
            return
        geometry = Geometry(kind=kind, values=bins, unit="bin")
        self.objects.append(ParsedObject(desc, geometry, span, desc_span, tuple(spans)))

    def _without_objects(self) -> None:
        body = self.text[: self.end].strip()
        inside = body.removeprefix("{").lstrip()
        if body.startswith("{") and inside.startswith("}"):
            self.is_empty_scene = True
            self._drop("text after the answer", inside[1:])
        elif body.startswith("{") and is_cut_header(inside):
            self._drop("cut off", inside)
        else:
            self._drop("no object", body)

    def _after_objects(self, rest: str) -> None:
        if is_cut_header(rest):
            self._drop("cut off", rest)
        else:
            self._drop("text after the answer", rest.removeprefix("}"))

    def _drop(self, reason: DropReason, text: str) -> None:
        piece = text.strip(SPACE + ",")
        if piece:
            self.dropped.append(Dropped(reason, piece))


def _read_desc(text: str, fields: Fields, alphabet: CoordAlphabet) -> tuple[Span, str]:
    if len(fields.descs) != 1:
        raise BrokenError("key given twice" if fields.descs else "no desc")
    start, end = fields.descs[0]
    try:
        desc = json.loads(text[start - 1 : end + 1])
        desc.encode("utf-8")
    except ValueError:  # an unknown escape, or half of a surrogate pair
        raise BrokenError("unreadable desc") from None
    if not desc.strip():
        raise BrokenError("empty desc")
    if contains_coord_token(desc, alphabet):
        raise BrokenError("coord token in desc")
    return (start, end), desc


def _only_geometry(fields: Fields) -> tuple[GeometryKind, list[Span]]:
    if not fields.geometries:
        raise BrokenError("no geometry")
    kinds = [kind for kind, _ in fields.geometries]
    if len(kinds) > 1:
        raise BrokenError("two geometries" if len(set(kinds)) > 1 else "key given twice")
    return fields.geometries[0]


def _token_to_bin(value: str, alphabet: CoordAlphabet) -> int:
    if not is_coord_token(value, alphabet):
        raise BrokenError("not a coordinate")
    return token_to_int(value, alphabet)


def _integer_to_bin(value: str, alphabet: CoordAlphabet) -> int:
    digits = value.removeprefix("-")
    if not DIGITS.issuperset(digits) or not digits or (digits[0] == "0" and value != "0"):
        raise BrokenError("not a coordinate")
    # Compared by length first: Python refuses to read integers of thousands of digits.
    if value != digits or len(digits) > len(str(alphabet.bins)) or int(digits) >= alphabet.bins:
        raise BrokenError("out of range")
    return int(digits)


def _check_shape(kind: GeometryKind, bins: Sequence[int]) -> None:
    rules = KINDS[kind]
    if not rules.is_whole(len(bins)):
        raise BrokenError("wrong number of coordinates")
    if rules.form == "corners" and (bins[2] < bins[0] or bins[3] < bins[1]):
        raise BrokenError("corners in the wrong order")
