"""One line of JSON, strictly: nothing that JSON does not have, and no key twice in an object."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import TypeGuard

import msgspec

from coordexp.data.contract.faults import Fault, raise_first
from coordexp.data.contract.rules import DOUBLED_KEY, NOT_FINITE, NOT_JSON
from coordexp.errors import RecordError

BLANK = "a blank line; expected one JSON object a line"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# `json.dumps` with arguments builds one of these at every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def encode_row(row: Mapping[str, object]) -> bytes:
    """Return one line of JSONL.

    Raises:
        ValueError: If the row holds NaN or half a surrogate pair.
    """
    return (_ENCODER.encode(row) + "\n").encode("utf-8")


def parse_json_line(line: bytes) -> object:
    """Return the JSON value of one line.

    Raises:
        RecordError: If it is blank, not UTF-8 or not JSON; if it holds NaN or Infinity, which JSON
            does not have, or one key twice in an object, of which `json` would keep the last.
    """
    value = _plainly_decoded(line)
    if value is None:
        value, faults = decode_closely(line)
        raise_first(faults)
    return value


def decode_closely(line: bytes) -> tuple[object, list[Fault]]:
    """Return the JSON value of one line, and every fault of its JSON.

    Where NaN or Infinity is the only fault, or a key twice, of which the last is kept, there still
    is a value to be looked at; of a line that cannot be read at all it is None.
    """
    try:
        return _decoded_with_faults(_text_of(line))
    except json.JSONDecodeError as error:
        message = _why_not_json(error.doc, error)
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text: {error.reason} at byte {error.start + 1}"
    except RecordError as error:
        message = error.message
    except ValueError as error:  # an integer of thousands of digits
        message = f"not JSON that can be read: {error}"
    except RecursionError:
        message = "not a record: nested too deeply"
    return None, [Fault(NOT_JSON, message)]


# Five times as fast as `json`, and equal to it in every value that it returns. What it refuses is
# looked at closely, and `json` says why: it accepts NaN and halves of surrogate pairs.
_DECODER = msgspec.json.Decoder()


def _plainly_decoded(line: bytes) -> object | None:
    """Return the value of a plain record's line, or None where it may hold what is refused.

    A key is followed by a colon. With as many colons as there are keys after decoding, no string
    holds one and no key stood twice: that costs nothing, unlike a hook for every object.
    """
    try:
        value = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) and _keys_of(value) == line.count(b":") else None


def _keys_of(row: dict[str, object]) -> int:
    """Return the number of keys of a record and its objects; deeper ones are not counted."""
    rows = row.get("objects")
    inner = sum(map(len, rows)) if isinstance(rows, list) and _are_dicts(rows) else 0
    return len(row) + inner


def _are_dicts(rows: list[object]) -> TypeGuard[list[dict[str, object]]]:
    return set(map(type, rows)) <= {dict}


def _decoded_with_faults(text: str) -> tuple[object, list[Fault]]:
    found: list[tuple[object, Fault]] = []  # each with what stands there, known by its identity

    def note_constant(name: str) -> float:
        value = float(name)
        found.append((value, Fault(NOT_FINITE, f"expected finite numbers, got {name}")))
        return value

    def note_doubled_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
        row = dict(pairs)
        if len(row) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            for key in (key for key, count in counts.most_common() if count > 1):
                message = f"the key {key!r} stands twice in one object"
                found.append((row, Fault(DOUBLED_KEY, message)))
        return row

    value = json.loads(text, parse_constant=note_constant, object_pairs_hook=note_doubled_keys)
    return value, [fault._replace(obj=_object_with(part, value)) for part, fault in found]


def _why_not_json(text: str, error: json.JSONDecodeError) -> str:
    if "\0" not in text:
        end = len(text.rstrip())  # of a line cut short json counts on, behind the line break
        return f"not JSON: {error.msg} at column {min(error.pos, end) + 1}"
    column = text.index("\0") + 1
    return (
        f"not JSON: NUL bytes from column {column}; whatever wrote the file was stopped in the "
        "middle, write it anew"
    )


def _text_of(line: bytes) -> str:
    if not line.strip():
        raise RecordError(BLANK)
    return line.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")


def _object_with(part: object, value: object) -> int | None:
    """Return the index of the object of a record in which something stands, itself or inside."""
    rows = value.get("objects") if isinstance(value, dict) else None
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        parts = [row]
        while parts:
            inner = parts.pop()
            if inner is part:
                return index
            if isinstance(inner, dict):
                parts.extend(inner.values())
            elif isinstance(inner, list):
                parts.extend(inner)
    return None
