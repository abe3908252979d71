"""One thing in a picture: its words, its geometry, and how it counts."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from coordexp.coord_tokens.codec import (
    CoordAlphabet,
    contains_coord_token,
    ints_to_tokens,
)
from coordexp.data.contract import rules
from coordexp.data.contract.faults import Fault
from coordexp.data.contract.geometry import Geometry, build_geometry, geometry_faults, shown
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, GeometryKind
from coordexp.data.contract.marks import (
    NO_MARKS,
    Marks,
    mark_faults,
    marks_to_json,
    parse_marks,
)
from coordexp.data.contract.special_tokens import special_token_faults
from coordexp.data.contract.text import unicode_faults

EXACT_SUFFIX = "_px"


@dataclass(frozen=True, slots=True)
class RecordObject:
    """One thing in the image.

    Args:
        desc: What it is, in words; never empty.
        geometry: Where it is.
        exact: The unquantised pixels, where `geometry` holds bins and the original was kept.
        marks: Whether it is taught, and how figures count it.
    """

    desc: str
    geometry: Geometry
    exact: Geometry | None = None
    marks: Marks = NO_MARKS

    @property
    def best_geometry(self) -> Geometry:
        """The exact geometry where there is one, else the only one."""
        return self.exact or self.geometry


def object_faults(
    row: object, width: float, height: float, alphabet: CoordAlphabet
) -> Iterator[Fault]:
    """Yield every violation of one object.

    Args:
        row: As decoded.
        width: Of the image; infinite where the record's own is wrong.
        height: The same.
        alphabet: Of the coord tokens.
    """
    if not isinstance(row, dict):
        message = f"expected an object with desc and a geometry, got {shown(row)}"
        yield Fault(rules.NOT_AN_OBJECT, message)
        return
    yield from desc_faults(row.get("desc"), alphabet)
    kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else "none of them"
        yield Fault(rules.ONE_GEOMETRY, f"exactly one of {', '.join(GEOMETRY_KINDS)}; got {got}")
    broken = len(kinds) != 1
    for kind in kinds:
        for fault in geometry_faults(kind, row[kind], width, height, alphabet):
            broken = True
            yield fault
    yield from mark_faults(row)
    if not broken and kinds[0] + EXACT_SUFFIX in row and math.inf not in (width, height):
        geometry = build_geometry(kinds[0], row[kinds[0]], alphabet)
        exact = row[kinds[0] + EXACT_SUFFIX]
        yield from _exact_faults(geometry, exact, int(width), int(height), alphabet)


def desc_faults(desc: object, alphabet: CoordAlphabet) -> Iterator[Fault]:
    """Yield what is wrong with the words of an object."""
    if not isinstance(desc, str) or not desc.strip():
        yield Fault(rules.DESC, f"desc: expected text that is not empty, got {shown(desc)}")
        return
    yield from unicode_faults("desc", desc, rules.DESC)
    if contains_coord_token(desc, alphabet):
        message = f"desc: coord tokens belong into a geometry, got {shown(desc)}"
        yield Fault(rules.DESC_COORD_TOKEN, message)
    yield from special_token_faults("desc", desc, alphabet)


def build_object(row: Mapping[str, object], alphabet: CoordAlphabet) -> RecordObject:
    """Return the object of JSON values in which `object_faults` has found nothing."""
    kind = next(kind for kind in GEOMETRY_KINDS if kind in row)
    exact = row.get(kind + EXACT_SUFFIX)
    return RecordObject(
        desc=cast("str", row["desc"]),
        geometry=build_geometry(kind, row[kind], alphabet),
        exact=None if exact is None else build_geometry(kind, exact, alphabet),
        marks=parse_marks(row),
    )


def object_to_json(item: RecordObject, alphabet: CoordAlphabet) -> dict[str, object]:
    """Return one object as plain JSON values."""
    geometry, exact = item.geometry, item.exact
    values: list[float] | list[str] = (
        list(geometry.values)
        if geometry.unit == "px"
        else list(ints_to_tokens(map(int, geometry.values), alphabet))
    )
    row: dict[str, object] = {"desc": item.desc, geometry.kind: values}
    if exact is not None:
        row[exact.kind + EXACT_SUFFIX] = list(exact.values)
    return row if item.marks is NO_MARKS else {**row, **marks_to_json(item.marks)}


def _exact_faults(
    geometry: Geometry, values: object, width: int, height: int, alphabet: CoordAlphabet
) -> Iterator[Fault]:
    """Yield the first thing that is wrong with exact pixels beside a good geometry."""
    kind: GeometryKind = geometry.kind
    key = kind + EXACT_SUFFIX
    broken = next(geometry_faults(kind, values, width, height, alphabet), None)
    if broken is not None:
        yield Fault(rules.EXACT, broken.message)
        return
    exact = build_geometry(kind, values, alphabet)
    if exact.unit != "px":
        yield Fault(rules.EXACT, f"{key}: expected pixel numbers, got coord tokens")
    elif geometry.unit != "bin":
        message = f"{key}: stands beside coord tokens only; {kind} holds pixels"
        yield Fault(rules.EXACT, message)
    elif _differ(geometry.values, exact.to_bins(width, height, alphabet)):
        yield Fault(rules.EXACT, f"{key}: differs from {kind} by more than one bin")


def _differ(bins: tuple[float, ...], others: tuple[int, ...]) -> bool:
    pairs = zip(bins, others, strict=False)
    return len(bins) != len(others) or any(abs(a - b) > 1 for a, b in pairs)
