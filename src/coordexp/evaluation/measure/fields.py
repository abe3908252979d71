"""The fields of a JSON object, each as what it has to be; else an error says what was expected."""

import math
from collections.abc import Mapping

from coordexp.errors import RecordError


def mapping_of(data: object, name: str) -> Mapping[str, object]:
    """Return a JSON object's fields."""
    if not isinstance(data, dict):
        raise RecordError(f"{name}: expected a JSON object, got {type(data).__name__}")
    return data


def list_at(row: Mapping[str, object], key: str) -> list[object]:
    """Return a field that is a list."""
    value = row.get(key)
    if key == "gt" and value is None:
        raise RecordError(
            "gt: missing; predictions are scored against what is true, so predict over records, "
            "not over a folder of pictures"
        )
    if not isinstance(value, list):
        raise RecordError(f"{key}: expected a list (empty is fine), got {type(value).__name__}")
    return value


def text_at(row: Mapping[str, object], key: str) -> str:
    """Return a field that is text."""
    value = row.get(key)
    if not isinstance(value, str):
        raise RecordError(f"{key}: expected text, got {type(value).__name__}")
    return value


def size_at(row: Mapping[str, object], key: str) -> int:
    """Return a field that is a positive number of pixels."""
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RecordError(f"{key}: expected a positive whole number of pixels, got {value!r}")
    return value


def number_of(value: object, name: str) -> float:
    """Return a finite number."""
    if type(value) is float and math.isfinite(value):
        return value
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        hint = "a model without scores gets 1.0 everywhere, and the figures say so"
        more = f"; {hint}" if name == "score" else ""
        raise RecordError(f"{name}: expected a finite number, got {value!r}{more}")
    return value
