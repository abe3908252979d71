"""Which geometries the answers of some files hold: the default question speaks of them."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, GeometryKind


def geometry_kinds(paths: Iterable[Path]) -> tuple[GeometryKind, ...]:
    """Return the geometries of the records that bring no prompt of their own, in a fixed order.

    A line is decoded only where it may hold a kind that no line before it had, so a file of boxes
    alone is read and not parsed. Files that cannot be read and lines that are no records are passed
    over: whoever trains on them is told by `coordexp.data.files.jsonl`.
    """
    missing = set(GEOMETRY_KINDS)
    for path in paths:
        with suppress(OSError), path.open("rb") as file:
            for line in file:
                if any(f'"{kind}"'.encode() in line for kind in missing):
                    missing -= _kinds_of(line)
                if not missing:
                    break
    return tuple(kind for kind in GEOMETRY_KINDS if kind not in missing)


def _kinds_of(line: bytes) -> set[str]:
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        row = json.loads(line)
        if not row.get("prompt"):
            return {key for item in row["objects"] for key in item}
    return set()
