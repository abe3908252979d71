"""Going over an answer's text once, forward only.

`Scanner` passes strings, lists and braces; `Fields` collects what stands in one object without
looking into it. What does not fit raises `BrokenError` with the reason.

After a broken object, the next one's key can begin no earlier than the last string: a quote that is
missing makes that key look like a value, or its first quote like the end of one. It cannot begin
inside, for a string ends at the first quote without a backslash. So little is looked at twice.
"""

from dataclasses import dataclass, field
from typing import Literal

from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, GeometryKind

Span = tuple[int, int]
DropReason = Literal[
    "coord token in desc",
    "corners in the wrong order",
    "below min score",
    "cut off",
    "empty desc",
    "key given twice",
    "malformed",
    "no desc",
    "no geometry",
    "no object",
    "not a coordinate",
    "not in classes",
    "out of range",
    "repeated",
    "text after the answer",
    "text before the answer",
    "text between objects",
    "two geometries",
    "unknown key",
    "unreadable desc",
    "wrong number of coordinates",
]

SPACE = " \t\r\n"
_KEY = '"object_'
DIGITS = frozenset("0123456789")
_AFTER_BARE = frozenset(SPACE + ',:"[]{}')


class BrokenError(Exception):
    """The object cannot be used, for this reason."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason)
        self.reason: DropReason = reason


@dataclass(slots=True)
class Scanner:
    """A place in a text that only moves forward, and where the last string began."""

    text: str
    end: int
    pos: int
    string_at: int

    def peek(self) -> str:
        """Return the next character that is no space."""
        while self.pos < self.end:
            if self.text[self.pos] not in SPACE:
                return self.text[self.pos]
            self.pos += 1
        raise BrokenError("cut off")

    def take(self, allowed: str) -> str:
        """Return the next character that is no space, and pass it."""
        char = self.peek()
        if char not in allowed:
            raise BrokenError("malformed")
        self.pos += 1
        return char

    def string(self) -> Span:
        """Pass a string and return its inside."""
        self.take('"')
        start = self.pos
        self.string_at = start - 1
        while self.pos < self.end:
            char = self.text[self.pos]
            if char < " ":
                raise BrokenError("malformed")
            self.pos += 2 if char == "\\" else 1
            if char == '"':
                return start, self.pos - 1
        self.pos = self.end
        raise BrokenError("cut off")

    def bare(self) -> Span:
        """Pass a number or anything else without quotes, and return where it stands."""
        start = self.pos
        while self.pos < self.end and self.text[self.pos] not in _AFTER_BARE:
            self.pos += 1
        if self.pos == start:
            raise BrokenError("malformed")
        return start, self.pos

    def values(self) -> list[Span]:
        """Pass a list and return where its values stand, without quotes."""
        self.take("[")
        if self.peek() == "]":
            self.pos += 1
            return []
        spans = []
        while True:
            spans.append(self.string() if self.peek() == '"' else self.bare())
            if self.take(",]") == "]":
                return spans


@dataclass(slots=True)
class Fields:
    """What stands between an object's braces, not yet looked into."""

    descs: list[Span] = field(default_factory=list)
    geometries: list[tuple[GeometryKind, list[Span]]] = field(default_factory=list)

    def scan(self, scanner: Scanner) -> None:
        """Read up to and including the closing brace."""
        if scanner.peek() == "}":
            scanner.pos += 1
            return
        while True:
            self._scan_field(scanner)
            if scanner.take(",}") == "}":
                return

    def _scan_field(self, scanner: Scanner) -> None:
        start, end = scanner.string()
        key = scanner.text[start:end]
        kind = next((kind for kind in GEOMETRY_KINDS if kind == key), None)
        if kind is None and key != "desc":
            raise BrokenError("unknown key")
        scanner.take(":")
        if kind is None:
            self.descs.append(scanner.string())
        else:
            self.geometries.append((kind, scanner.values()))


def next_header(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return where the next `"object_N": {` begins and ends."""
    key_at = text.find(_KEY, start, end)
    while key_at >= 0:
        scanner = Scanner(text, end, key_at, key_at)
        try:
            _scan_header(scanner)
        except BrokenError:
            key_at = text.find(_KEY, key_at + 1, end)
        else:
            return key_at, scanner.pos
    return None


def _scan_header(scanner: Scanner) -> None:
    start = scanner.pos = scanner.pos + len(_KEY)
    while scanner.pos < scanner.end and scanner.text[scanner.pos] in DIGITS:
        scanner.pos += 1
    if scanner.pos < scanner.end and (scanner.pos == start or scanner.text[scanner.pos] != '"'):
        raise BrokenError("malformed")
    scanner.take('"')
    scanner.take(":")
    scanner.take("{")


def is_cut_header(rest: str) -> bool:
    """Return whether the text breaks off inside `"object_N": {`."""
    if not rest.startswith(_KEY):
        return _KEY.startswith(rest)
    try:
        _scan_header(Scanner(rest, len(rest), 0, 0))
    except BrokenError as error:
        return error.reason == "cut off"
    return False
