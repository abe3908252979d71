"""Reading what a stock model wrote: its family's JSON list of boxes and points, fenced or not.

::

    ```json
    [
        {"bbox_2d": [10, 20, 300, 400], "label": "a cat"},
        {"point_2d": [55, 66], "label": "a mouse"}
    ]
    ```

Nobody taught this model our format, so the frame is read tolerantly: words around the list, a list
inside an object, keys in any order, other keys beside them, corners as two pairs, decimals, an
answer that breaks off. What stands in an object is not: as in `coordexp.answers.parse` it is
kept as it is or dropped with a reason. What overhangs the picture is kept, evaluation says so. The
time is linear in the text.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from coordexp.answers.parse import (
    Dropped,
    ParsedAnswer,
    ParsedObject,
    ParseStatus,
    end_of_answer,
)
from coordexp.answers.scan import SPACE, BrokenError, DropReason, Scanner, Span
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.families.boxes import StockAnswers

ToPixels = Callable[[list[float]], tuple[float, ...]]

# Longer ones are no place in a picture, and Python refuses to read thousands of digits.
_NUMBER = re.compile(r"-?\d{1,7}(?:\.\d{1,17})?")
# Possessive, for a run of backticks could be cut in very many ways.
_FRAME = re.compile(r"(?:`++(?:json)?|[\[\]},\s]++)*+")
_EMPTY_LIST = re.compile(r"\[\s*+\]")
_FENCE = "```"


def parse_stock_answer(
    text: str,
    answers: StockAnswers,
    *,
    size: tuple[int, int],
    stored: tuple[int, int],
    end_marks: Sequence[str],
) -> ParsedAnswer:
    """Return the objects of an answer, in pixels of the picture, whatever the text.

    The status is `ok` if the text is a JSON list, fences and end marks aside, of which everything
    could be read; `failed` if there is neither an object nor an empty list in it; else `salvaged`.

    Args:
        text: What the model wrote.
        answers: How it answers.
        size: Width and height of the picture.
        stored: Those of its file, where that was resized.
        end_marks: Of the model's family.
    """

    def to_pixels(values: list[float]) -> tuple[float, ...]:
        return answers.to_pixels(values, size=size, stored=stored)

    body = text[: end_of_answer(text, end_marks)]
    reader = _ListReader(body, answers, to_pixels)
    reader.read()
    status: ParseStatus = "failed"
    if not reader.dropped and _is_list(body):
        status = "ok"
    elif reader.objects or reader.is_empty_list:
        status = "salvaged"
    return ParsedAnswer(tuple(reader.objects), status, tuple(reader.dropped))


def _is_list(body: str) -> bool:
    inside = body.strip()
    if inside.startswith(_FENCE):
        inside = inside.removeprefix(_FENCE).removeprefix("json").removesuffix(_FENCE)
    try:
        return isinstance(json.loads(inside), list)
    except (ValueError, RecursionError):
        return False


class _InsideError(Exception):
    """The object holds others, and the first of them begins here."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


@dataclass(slots=True)
class _Fields:
    """What stands between an object's braces."""

    geometries: list[tuple[GeometryKind, list[Span]]] = field(default_factory=list)
    labels: list[Span] = field(default_factory=list)


class _ListReader:
    """Goes through an answer object by object."""

    def __init__(self, text: str, answers: StockAnswers, to_pixels: ToPixels) -> None:
        self.text = text
        self.label_key = answers.boxes.label_key
        self.kinds: Mapping[str, GeometryKind] = {
            answers.boxes.box_key: "bbox_2d",
            answers.boxes.point_key: "point_2d",
        }
        self.to_pixels = to_pixels
        self.objects: list[ParsedObject] = []
        self.dropped: list[Dropped] = []
        self.is_empty_list = False

    def read(self) -> None:
        """Fill `objects` and `dropped`."""
        start = self.text.find("{")
        if start < 0:
            self._without_objects()
            return
        self._drop_words("text before the answer", self.text[:start])
        done = start
        while start >= 0:
            self._drop_words("text between objects", self.text[done:start])
            done, start = self._read_object(start)
        self._drop_words("text after the answer", self.text[done:])

    def _read_object(self, start: int) -> tuple[int, int]:
        """Read the object at a brace; return where it ends, and where the next one begins or -1."""
        scanner, fields = Scanner(self.text, len(self.text), start + 1, start + 1), _Fields()
        try:
            self._scan(scanner, fields)
        except _InsideError as inside:
            return start, inside.start
        except BrokenError as error:
            following = self.text.find("{", scanner.string_at)
            done = following if following >= 0 else len(self.text)
            self._drop(error.reason, self.text[start:done])
            return done, following
        self._keep(fields, (start, scanner.pos))
        return scanner.pos, self.text.find("{", scanner.pos)

    def _scan(self, scanner: Scanner, fields: _Fields) -> None:
        """Read up to and including the closing brace."""
        while scanner.peek() != "}":
            begin, end = scanner.string()
            key = self.text[begin:end]
            scanner.take(":")
            if key == self.label_key:
                fields.labels.append(scanner.string())
            elif key in self.kinds:
                fields.geometries.append((self.kinds[key], _flat_list(scanner)))
            else:
                _pass_value(scanner)
            if scanner.peek() == ",":
                scanner.take(",")
            elif scanner.peek() != "}":
                raise BrokenError("malformed")
        scanner.take("}")

    def _keep(self, fields: _Fields, span: Span) -> None:
        try:
            kind, spans = _only_geometry(fields)
            label_span, label = self._label(fields)
            values = [self._number(place) for place in spans]
            if KINDS[kind].form == "corners":
                _check_corners(values)
        except BrokenError as error:
            self._drop(error.reason, self.text[slice(*span)])
            return
        geometry = Geometry(kind, self.to_pixels(values), "px")
        self.objects.append(ParsedObject(label, geometry, span, label_span, tuple(spans)))

    def _label(self, fields: _Fields) -> tuple[Span, str]:
        if len(fields.labels) != 1:
            raise BrokenError("key given twice" if fields.labels else "no desc")
        start, end = fields.labels[0]
        try:
            label: str = json.loads(self.text[start - 1 : end + 1])
            label.encode("utf-8")
        except ValueError:  # an unknown escape, or half of a surrogate pair
            raise BrokenError("unreadable desc") from None
        if not label.strip():
            raise BrokenError("empty desc")
        return (start, end), label

    def _number(self, span: Span) -> float:
        word = self.text[slice(*span)]
        if not _NUMBER.fullmatch(word):
            raise BrokenError("not a coordinate")
        return float(word)

    def _without_objects(self) -> None:
        empty = _EMPTY_LIST.search(self.text)
        if empty is not None:
            self.is_empty_list = True
            self._drop_words("text before the answer", self.text[: empty.start()])
            self._drop_words("text after the answer", self.text[empty.end() :])
        elif self.text.strip():
            cut = _FRAME.fullmatch(self.text) is not None
            self._drop("cut off" if cut else "no object", self.text)

    def _drop_words(self, reason: DropReason, text: str) -> None:
        """Drop a piece unless it is brackets, commas and fences alone."""
        if not _FRAME.fullmatch(text):
            self._drop(reason, text)

    def _drop(self, reason: DropReason, text: str) -> None:
        self.dropped.append(Dropped(reason, text.strip(SPACE + ",")))


def _flat_list(scanner: Scanner) -> list[Span]:
    """Pass a list of values, or of lists of values, and return where the values stand."""
    scanner.take("[")
    spans: list[Span] = []
    while scanner.peek() != "]":
        if scanner.peek() == "[":
            spans += scanner.values()
        else:
            spans.append(scanner.string() if scanner.peek() == '"' else scanner.bare())
        if scanner.peek() == ",":
            scanner.take(",")
        elif scanner.peek() != "]":
            raise BrokenError("malformed")
    scanner.take("]")
    return spans


def _pass_value(scanner: Scanner) -> None:
    """Pass what stands behind a key that is not looked into, but for objects inside it."""
    char = scanner.peek()
    if char == '"':
        scanner.string()
    elif char == "{":
        raise _InsideError(scanner.pos)
    elif char == "[":
        after = Scanner(scanner.text, scanner.end, scanner.pos + 1, scanner.string_at)
        if after.peek() == "{":
            raise _InsideError(after.pos)
        _flat_list(scanner)
    else:
        scanner.bare()


def _only_geometry(fields: _Fields) -> tuple[GeometryKind, list[Span]]:
    """Return the geometry of an object, of two kinds the one that comes first in `KINDS`."""
    if not fields.geometries:
        raise BrokenError("no geometry")
    kinds = [kind for kind, _ in fields.geometries]
    if len(set(kinds)) < len(kinds):
        raise BrokenError("key given twice")
    kind, spans = min(fields.geometries, key=lambda given: GEOMETRY_KINDS.index(given[0]))
    if not KINDS[kind].is_whole(len(spans)):
        raise BrokenError("wrong number of coordinates")
    return kind, spans


def _check_corners(values: list[float]) -> None:
    x1, y1, x2, y2 = values
    if x2 < x1 or y2 < y1:
        raise BrokenError("corners in the wrong order")
