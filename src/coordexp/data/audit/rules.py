"""The contract as rules: every violation of one record, not the first alone.

`data.contract.record.parse_record` stays the authority. It stops at the first fault; here each part
of a record is tried by itself, so that one fault hides no other, and its messages are the ones that
training would give. What it refuses and no rule explains is reported under `contract`.
"""

import json
import math
from collections.abc import Iterator
from typing import NamedTuple

from coordexp.coord_tokens.codec import (
    SPEC_ALPHABET,
    CoordAlphabet,
    contains_coord_token,
    is_coord_token,
)
from coordexp.data.audit.findings import Rule
from coordexp.data.contract.geometry import (
    GEOMETRY_KINDS,
    LEAST_POINTS,
    GeometryKind,
    parse_geometry,
    shown,
)
from coordexp.data.contract.marks import MARK_KEYS, parse_marks
from coordexp.data.contract.record import EXACT_SUFFIX, LARGEST_SIZE_PX, parse_record
from coordexp.data.contract.special_tokens import special_token_in
from coordexp.errors import RecordError


def _violation(name: str, fix: str) -> Rule:
    return Rule(name, "violation", fix)


EMPTY_FILE = _violation("empty-file", "write one record a line, or leave the file out")
BLANK_LINE = _violation("blank-line", "remove it, or put the record back that stood there")
NOT_JSON = _violation("not-json", "write each record as one line of UTF-8 JSON")
NOT_FINITE = _violation("not-finite", "find out where NaN or Infinity comes from; drop the object")
DOUBLED_KEY = _violation("doubled-key", "keep one of the two; most readers would keep the last")
NOT_A_RECORD = _violation("not-a-record", "each line is one JSON object with images and objects")
IMAGES = _violation("images", 'write "images": ["one/relative/path.jpg"]')
IMAGE_PATH = _violation(
    "image-path", "put pictures below the folder of the JSONL file and name them relative to it"
)
SIZE = _violation("size", "write width and height of the upright picture as whole numbers")
OBJECTS = _violation("objects", 'write a list; "objects": [] where there is nothing to see')
NOT_AN_OBJECT = _violation("not-an-object", "each entry of objects has a desc and a geometry")
DESC = _violation("desc", "say in words what it is, or drop the object")
DESC_COORD_TOKEN = _violation("desc-coord-token", "take coord tokens out of the text")
SPECIAL_TOKEN = _violation(
    "special-token", "say it in other words; a tokenizer would read an end, or a picture, in it"
)
ONE_GEOMETRY = _violation(
    "one-geometry", "keep one of bbox_2d, poly and line; make two objects where you mean two"
)
FLAT_LIST = _violation("flat-list", "write x, y, x, y, ... as numbers in one flat list")
MIXED_UNITS = _violation("mixed-units", "use pixels or coord tokens within one geometry")
POINTS = _violation("points", "a box has 4 values, a line at least 4, a polygon at least 6")
COORD_TOKEN = _violation(
    "coord-token", "bins go from 0 to one below their number; numbers 0..1000 need to be rescaled"
)
OUTSIDE_IMAGE = _violation(
    "outside-image",
    "compare width and height with the picture (swapped? before a resize?), or clip the overhang",
)
CORNER_ORDER = _violation(
    "corner-order", "write x1, y1, x2, y2; COCO's x, y, width, height differs"
)
NO_AREA = _violation("no-area", "drop the box, or give it the pixel it should cover")
EXACT = _violation("exact-pixels", "let data prepare write the *_px keys; do not edit the tokens")
RESIZED = _violation("resized", "resized is the width and height that data prepare wrote; keep it")
LONG_LINE = _violation("long-line", "write one record a line, not one JSON array of all of them")
CHAT = _violation("chat", "messages are user and assistant in turn, the assistant last")
TEXT = _violation("text", "prompt and summary are text, or left out")
METADATA = _violation("metadata", "metadata is a JSON object with finite numbers, or left out")
MARKS = _violation(
    "marks", "iscrowd and ignore are 0 or 1, area is in square pixels; leave out what is not known"
)
FEDERATED = _violation("federated", "let data convert write it from LVIS, or leave it out")
CONTRACT = _violation("contract", "see docs/data-contract.md")
IMAGE_MISSING = _violation("image-missing", "put the picture there, or drop the record")
IMAGE_SIZE = _violation(
    "image-size", "annotations of a resized or turned picture need to be converted with it"
)
IMAGE_UNREADABLE = _violation("image-unreadable", "fetch the picture again, or drop the record")
TOO_THIN = _violation("too-thin", "crop the picture, cut it into pieces, or drop the record")


_MOST_SHOWN = 4


class Fault(NamedTuple):
    """One violation: its rule, what is there, and the object to blame."""

    rule: Rule
    message: str
    obj: int | None = None


def record_faults(data: object, alphabet: CoordAlphabet = SPEC_ALPHABET) -> list[Fault]:
    """Return every violation of a decoded JSON line; none for a record that is fine."""
    try:
        parse_record(data, alphabet)
    except RecordError as error:
        if not isinstance(data, dict):
            return [Fault(NOT_A_RECORD, error.message)]
        found = [*_part_faults(data, alphabet), *_all_object_faults(data, alphabet)]
        return found or [Fault(CONTRACT, error.message, error.obj)]
    return []


def chat_fault(data: dict[str, object], error: RecordError, alphabet: CoordAlphabet) -> Fault:
    """Return the violation of a chat that `parse_chat` refused."""
    rows = data.get("messages")
    messages = rows if isinstance(rows, list) else []
    texts = [row.get("content") for row in messages if isinstance(row, dict)]
    # The message tells whether this is what `parse_chat` stopped at.
    found = [token for text in texts if (token := _special_token(text, alphabet)) is not None]
    is_special = any(token in error.message for token in found)
    return Fault(SPECIAL_TOKEN if is_special else CHAT, error.message)


def object_count(data: object) -> int:
    """Return how many objects a decoded line has, right or wrong."""
    rows = data.get("objects") if isinstance(data, dict) else None
    return len(rows) if isinstance(rows, list) else 0


def broken_line_faults(
    raw: bytes, error: RecordError, alphabet: CoordAlphabet = SPEC_ALPHABET
) -> list[Fault]:
    """Return every violation of a line that `parse_json_line` refused.

    NaN and keys given twice are refused, and yet the rest of the line can be read.

    Args:
        raw: The line.
        error: Why it was refused.
        alphabet: Of the coord tokens.
    """
    constants: list[str] = []
    doubled: list[str] = []

    def note_constant(name: str) -> float:
        constants.append(name)
        return math.nan

    def note_doubled_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        doubled.extend({key for key in keys if keys.count(key) > 1})
        return dict(pairs)

    try:
        data = json.loads(
            raw.decode("utf-8-sig"),
            parse_constant=note_constant,
            object_pairs_hook=note_doubled_keys,
        )
    except (ValueError, RecursionError):
        return [Fault(NOT_JSON, error.message, error.obj)]
    found = record_faults(data, alphabet)
    if constants and not any(fault.rule is NOT_FINITE for fault in found):
        found.append(Fault(NOT_FINITE, f"expected finite numbers, got {constants[0]}"))
    for key in doubled:
        found.append(Fault(DOUBLED_KEY, f"the key {key!r} stands twice in one object"))
    return found or [Fault(NOT_JSON, error.message, error.obj)]


def _part_faults(data: dict[str, object], alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield the faults of all but the objects, each key tried in an otherwise good record."""
    good = {"images": ["a"], "width": 1, "height": 1, "objects": []}
    needed = {"images": IMAGES, "width": SIZE, "height": SIZE, "objects": OBJECTS}
    optional = {
        "prompt": TEXT,
        "summary": TEXT,
        "metadata": METADATA,
        "resized": RESIZED,
        "federated": FEDERATED,
    }
    for key, rule in (needed | optional).items():
        value = data.get(key)
        if key == "objects" and isinstance(value, list):
            continue
        message = _refusal({**good, key: value}, alphabet)
        if message is not None:
            yield Fault(_rule_of(key, value, rule, alphabet), message)


def _rule_of(key: str, value: object, rule: Rule, alphabet: CoordAlphabet) -> Rule:
    if _is_bad_path(key, value):
        return IMAGE_PATH
    return SPECIAL_TOKEN if _special_token(value, alphabet) else rule


def _special_token(value: object, alphabet: CoordAlphabet) -> str | None:
    return special_token_in(value, alphabet) if isinstance(value, str) else None


def _refusal(data: dict[str, object], alphabet: CoordAlphabet) -> str | None:
    try:
        parse_record(data, alphabet)
    except RecordError as error:
        return error.message
    return None


def _is_bad_path(key: str, value: object) -> bool:
    one = key == "images" and isinstance(value, list) and len(value) == 1
    return one and isinstance(value, list) and isinstance(value[0], str) and value[0] != ""


def _all_object_faults(data: dict[str, object], alphabet: CoordAlphabet) -> Iterator[Fault]:
    rows = data.get("objects")
    size = (_known_size(data.get("width")), _known_size(data.get("height")))
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        for rule, message, _ in _object_faults(row, size, alphabet):
            yield Fault(rule, message, index)


def _known_size(value: object) -> float:
    """Return a usable size; where it is wrong itself, every positive pixel counts as inside."""
    return value if type(value) is int and 1 <= value <= LARGEST_SIZE_PX else math.inf


def _object_faults(
    row: object, size: tuple[float, float], alphabet: CoordAlphabet = SPEC_ALPHABET
) -> Iterator[Fault]:
    """Yield every violation of one object.

    Args:
        row: As decoded.
        size: Width and height; infinite where the record's own are wrong.
        alphabet: Of the coord tokens.
    """
    if not isinstance(row, dict):
        yield Fault(NOT_AN_OBJECT, f"expected an object with desc and a geometry, got {shown(row)}")
        return
    desc = row.get("desc")
    probe = {**_PROBE, "objects": [{"desc": desc, "line": [0, 0, 1, 1]}]}
    message = _refusal(probe, alphabet)
    if message is not None:
        yield Fault(_desc_rule(desc, alphabet), message)
    yield from _mark_faults(row)
    kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else "none of them"
        yield Fault(ONE_GEOMETRY, f"exactly one of {', '.join(GEOMETRY_KINDS)}; got {got}")
    broken = False
    for kind in kinds:
        for fault in _geometry_faults(kind, row[kind], size, alphabet):
            broken = True
            yield fault
    if len(kinds) == 1 and not broken and math.inf not in size:
        yield from _exact_faults(row, kinds[0], size, alphabet)


def _mark_faults(row: dict[str, object]) -> Iterator[Fault]:
    for key in sorted(MARK_KEYS & row.keys()):
        try:
            parse_marks({key: row[key]})
        except RecordError as error:
            yield Fault(MARKS, error.message)


def _desc_rule(desc: object, alphabet: CoordAlphabet) -> Rule:
    if isinstance(desc, str) and contains_coord_token(desc, alphabet):
        return DESC_COORD_TOKEN
    return SPECIAL_TOKEN if _special_token(desc, alphabet) else DESC


_PROBE: dict[str, object] = {"images": ["a"], "width": 1, "height": 1}


def _geometry_faults(
    kind: GeometryKind, values: object, size: tuple[float, float], alphabet: CoordAlphabet
) -> Iterator[Fault]:
    try:
        parse_geometry(kind, values, *size, alphabet)  # type: ignore[arg-type] # may be infinite
    except RecordError as error:
        rule = _form_fault(kind, values, alphabet)
        if rule is not None:
            yield Fault(rule, error.message)
        elif isinstance(values, list):
            found = [*_pixel_faults(kind, values, size)]
            yield from found or [Fault(CONTRACT, error.message)]


def _form_fault(kind: GeometryKind, values: object, alphabet: CoordAlphabet) -> Rule | None:
    """Return what makes it impossible to look at single values."""
    if not isinstance(values, list) or any(
        isinstance(value, bool) or not isinstance(value, int | float | str) for value in values
    ):
        return FLAT_LIST
    texts = [value for value in values if isinstance(value, str)]
    least = 2 * LEAST_POINTS[kind]
    checks = (
        (len(texts) not in (0, len(values)), MIXED_UNITS),
        (len(values) % 2 or len(values) < least, POINTS),
        (kind == "bbox_2d" and len(values) != least, POINTS),
        (not all(is_coord_token(text, alphabet) for text in texts), COORD_TOKEN),
        (len(texts) > 0, CORNER_ORDER),  # all that is left to be wrong with good tokens
    )
    return next((rule for broken, rule in checks if broken), None)


def _pixel_faults(
    kind: GeometryKind, values: list[float], size: tuple[float, float]
) -> Iterator[Fault]:
    odd = [value for value in values if not abs(value) < math.inf]
    if odd:
        yield Fault(NOT_FINITE, f"{kind}: expected finite numbers, got {odd[0]}")
    outside = [
        f"{'xy'[place % 2]} = {shown(value)}"
        for place, value in enumerate(values)
        if abs(value) < math.inf and not 0 <= value <= size[place % 2]
    ]
    if outside:
        told = ", ".join(outside[:_MOST_SHOWN]) + (", ..." if len(outside) > _MOST_SHOWN else "")
        image = "the image" if math.inf in size else f"the image of {size[0]} x {size[1]} pixels"
        yield Fault(OUTSIDE_IMAGE, f"{kind}: {told} outside {image}")
    if kind != "bbox_2d":
        return
    x1, y1, x2, y2 = values
    if x2 < x1 or y2 < y1:
        yield Fault(CORNER_ORDER, f"{kind}: expected x1 <= x2 and y1 <= y2, got {shown(values)}")
    elif x2 == x1 or y2 == y1:
        yield Fault(NO_AREA, f"{kind}: the box has no area: {shown(values)}")


def _exact_faults(
    row: dict[str, object], kind: GeometryKind, size: tuple[float, float], alphabet: CoordAlphabet
) -> Iterator[Fault]:
    """Yield what is wrong with the exact pixels beside a good geometry."""
    width, height = size
    kept = {key: row[key] for key in (kind, kind + EXACT_SUFFIX) if key in row}
    record = {**_PROBE, "width": width, "height": height, "objects": [{"desc": "a", **kept}]}
    message = _refusal(record, alphabet)
    if message is not None:
        yield Fault(EXACT, message)
