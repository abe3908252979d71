"""One line of JSON, strictly: nothing that JSON does not have, and no key twice in an object."""

import json
from collections import Counter
from typing import Never, TypeGuard

from coordexp.errors import RecordError

BLANK = "a blank line; expected one JSON object a line"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_json_line(line: bytes) -> object:
    """Return the JSON value of one line.

    Raises:
        RecordError: If it is blank, not UTF-8 or not JSON; if it holds NaN or Infinity, which JSON
            does not have, or one key twice in an object, of which `json` would keep the last.
    """
    text = _decoded(line)
    try:
        value = _plainly_decoded(text)
        if value is not None:
            return value
        return _closely_decoded(text)
    except json.JSONDecodeError as error:
        raise RecordError(_why_not_json(text, error)) from None
    except ValueError as error:  # an integer of thousands of digits
        raise RecordError(f"not JSON that can be read: {error}") from None
    except RecursionError:
        raise RecordError("not a record: nested too deeply") from None


class _NotPlainError(ValueError):
    """A line that only a close look can judge."""


def _refuse_constant(name: str) -> Never:
    raise _NotPlainError(name)


# `json.loads` with arguments builds one of these at every call.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _plainly_decoded(text: str) -> object | None:
    """Return the value of a plain record's line, or None where it may hold what is refused.

    A key is followed by a colon. With as many colons as there are keys after decoding, no string
    holds one and no key stood twice: that costs nothing, unlike a hook for every object.
    """
    try:
        value = _DECODER.decode(text)
    except _NotPlainError:
        return None
    return value if isinstance(value, dict) and _keys_of(value) == text.count(":") else None


def _keys_of(row: dict[str, object]) -> int:
    """Return the number of keys of a record and its objects; deeper ones are not counted."""
    rows = row.get("objects")
    inner = sum(map(len, rows)) if isinstance(rows, list) and _are_dicts(rows) else 0
    return len(row) + inner


def _are_dicts(rows: list[object]) -> TypeGuard[list[dict[str, object]]]:
    return set(map(type, rows)) <= {dict}


def _closely_decoded(text: str) -> object:
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

    value = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_doubled_keys)
    if flaws:
        raise RecordError(flaws[0].message, obj=_object_with(flaws[0], value))
    return value


def _why_not_json(text: str, error: json.JSONDecodeError) -> str:
    if "\0" not in text:
        end = len(text.rstrip())  # of a line cut short json counts on, behind the line break
        return f"not JSON: {error.msg} at column {min(error.pos, end) + 1}"
    column = text.index("\0") + 1
    return (
        f"not JSON: NUL bytes from column {column}; whatever wrote the file was stopped in the "
        "middle, write it anew"
    )


class _Flaw:
    """What stands, while a line is decoded, where JSON broke a rule of ours."""

    def __init__(self, message: str) -> None:
        self.message = message


def _decoded(line: bytes) -> str:
    if not line.strip():
        raise RecordError(BLANK)
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
