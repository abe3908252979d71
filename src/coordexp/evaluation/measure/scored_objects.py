"""One object of a predictions file: what and where it is, and how sure the model is of it.

A box without area is allowed here, unlike in a record: a model may say so. A predicted object that
overhangs its picture is clipped, and says so.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry_kinds import KINDS
from coordexp.data.contract.marks import NO_MARKS, Marks, parse_marks
from coordexp.data.contract.record import (
    GEOMETRY_KINDS,
    Geometry,
    GeometryKind,
    parse_geometry,
)
from coordexp.data.convert.objects.outline import clip_ring
from coordexp.errors import RecordError
from coordexp.evaluation.measure.fields import mapping_of, number_of, text_at

_NUMBERS = frozenset((int, float))


@dataclass(frozen=True, slots=True)
class ScoredObject:
    """One object; a true one has score 1.

    Args:
        desc: What it is, in words.
        geometry: Where it is, in pixels.
        score: How sure the model is; only the order matters to average precision.
        score_parts: What the score was made of.
        marks: Whether a true one is a crowd, or ignored, and its area where the dataset says so.
        clipped: Whether a predicted one overhung its picture.
    """

    desc: str
    geometry: Geometry
    score: float
    score_parts: Mapping[str, float]
    marks: Marks = NO_MARKS
    clipped: bool = False


def parse_scored_object(data: object, width: int, height: int, *, scored: bool) -> ScoredObject:
    """Return the object that a decoded piece of a line holds.

    Args:
        data: The piece.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        scored: Whether it is a prediction, which has a score and may overhang.

    Raises:
        RecordError: If it breaks the contract.
    """
    row = mapping_of(data, "an object")
    kinds = [kind for kind in GEOMETRY_KINDS if kind in row]
    absent = [key for key in (("desc", "score") if scored else ("desc",)) if key not in row]
    if absent and (len(absent) > 1 or not kinds):
        others = [] if kinds else [f"one of {', '.join(GEOMETRY_KINDS)}"]
        raise RecordError(f"missing: {' and '.join([*absent, *others])}")
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else "none of them"
        raise RecordError(f"exactly one of {', '.join(GEOMETRY_KINDS)}; got {got}")
    desc = text_at(row, "desc")
    if not desc.strip():
        raise RecordError("desc: expected text that is not empty")
    values = row[kinds[0]]
    inside = _inside(kinds[0], values, width, height) if scored else None
    geometry = _geometry(kinds[0], values if inside is None else inside, width, height)
    if not scored:
        return ScoredObject(desc, geometry, 1.0, {}, parse_marks(row))
    score = number_of(row.get("score"), "score")
    return ScoredObject(desc, geometry, score, _parts(row), clipped=inside is not None)


def _parts(row: Mapping[str, object]) -> Mapping[str, float]:
    parts = mapping_of(row.get("score_parts", {}), "score_parts")
    return {
        name: part
        if type(part) is float and math.isfinite(part)
        else number_of(part, f"score_parts.{name}")
        for name, part in parts.items()
    }


def _geometry(kind: GeometryKind, values: object, width: int, height: int) -> Geometry:
    flat = KINDS[kind].form == "corners" and _has_no_area(values)
    # A line has a box's other rules: four finite pixels inside the image.
    # Tokens of any alphabet are refused below, or as no token of this one.
    geometry = parse_geometry("line" if flat else kind, values, width, height, SPEC_ALPHABET)
    if geometry.unit != "px":
        raise RecordError(f"{kind}: expected pixels, got coord tokens")
    return replace(geometry, kind=kind) if flat else geometry


def _inside(kind: GeometryKind, values: object, width: int, height: int) -> list[float] | None:
    """Return the part of a geometry inside the picture, a flat rest of what lies outside.

    None for what does not overhang, and for what is no list of finite pixels.
    """
    if not _are_finite_pairs(values):
        return None
    xs, ys = values[0::2], values[1::2]
    if min(xs) >= 0 and min(ys) >= 0 and max(xs) <= width and max(ys) <= height:
        return None
    if KINDS[kind].form == "ring":
        ring = clip_ring(values, width, height)
        if KINDS[kind].is_whole(len(ring)):
            return list(ring)
    sizes = (width, height)
    return [min(max(value, 0), sizes[place % 2]) for place, value in enumerate(values)]


def _are_finite_pairs(values: object) -> TypeGuard[list[float]]:
    if type(values) is not list or not values or len(values) % 2:
        return False
    return _NUMBERS.issuperset(map(type, values)) and all(map(math.isfinite, values))


def _has_no_area(values: object) -> bool:
    if type(values) is not list or not _NUMBERS.issuperset(map(type, values)):
        return False
    if len(values) != 4:  # noqa: PLR2004 - two corners
        return False
    x1, y1, x2, y2 = values
    return bool((x1 == x2 and y1 <= y2) or (y1 == y2 and x1 <= x2))
