"""From a shape to an object of the contract, with everything that is changed on the way counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from coordexp.coord_tokens.codec import SPEC_ALPHABET, contains_coord_token
from coordexp.data.contract.crossing import crosses_itself
from coordexp.data.contract.geometry import Box, Geometry, bounding_box
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import RecordObject
from coordexp.data.convert.objects.mask import is_hole, mask_to_outlines
from coordexp.data.convert.objects.outline import (
    Ring,
    box_around,
    canonical_ring,
    clip_ring,
    join_rings,
    ring_area,
    simplify_ring,
)
from coordexp.data.convert.reading.shapes import Shape, UnusableError
from coordexp.data.convert.reading.tally import Fate, Tally

GeometryChoice = Literal["bbox", "poly", "prefer-poly"]
CrowdPolicy = Literal["keep", "drop", "drop-picture"]
IgnoredPolicy = Literal["keep", "teach", "drop"]
PointPolicy = Literal["drop", "keep", "only"]

ROUNDING_PX = 0.02
"""COCO's two decimals and YOLO's six put an edge on the border beyond it by less than this."""
_DECIMALS = 4  # written values; cuts the noise of floats such as 0.1 + 0.2
_NO_AREA = "a shape without area"
_OUTSIDE = "a shape outside the picture"
_NO_OUTLINE = "no outline, and --geometry poly wants one"


@dataclass(frozen=True, slots=True)
class KeepRules:
    """What is kept of a dataset.

    Args:
        geometry: Boxes; polygons; or polygons where one is enough and boxes elsewhere.
        points: Whether single points, which none of these can be, are left out, kept beside them,
            or all that is kept.
        include: Only these classes; empty for all.
        exclude: Not these.
        crowd: What happens to groups that nobody has taken apart: kept for figures and never
            taught, dropped, or dropped with their picture.
        ignored: What happens to objects that the dataset calls ignored or difficult: kept for
            figures and never taught, taught as any other, or dropped.
        most_vertices: Of a polygon; None for no limit.
        least_side: Of the bounding box's shorter side, in pixels.
        most_objects: A picture with more is left out; None for no limit.
        empty: Whether pictures without objects are kept.
    """

    geometry: GeometryChoice = "bbox"
    points: PointPolicy = "drop"
    include: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    crowd: CrowdPolicy = "keep"
    ignored: IgnoredPolicy = "keep"
    most_vertices: int | None = None
    least_side: float = 0.0
    most_objects: int | None = None
    empty: bool = True


def shape_to_object(
    shape: Shape, width: int, height: int, choice: KeepRules, tally: Tally
) -> RecordObject:
    """Return the object that a shape becomes in a picture of this size.

    Raises:
        UnusableError: If it cannot be one, or the choice leaves it out.
    """
    _check_class(shape, choice)
    marks = _kept_marks(shape, choice)
    mapper = _Mapper(shape.in_pixels(width, height), width, height)
    geometry = mapper.geometry(choice)
    x1, y1, x2, y2 = bounding_box(geometry.values)
    if geometry.rules.has_area and min(x2 - x1, y2 - y1) < choice.least_side:
        raise UnusableError(f"smaller than {choice.least_side:g} pixels", asked=True)
    for fate, reason in (*mapper.changes, *_remarks(marks)):
        tally.add("object", fate, reason, shape.place)
    return RecordObject(desc=shape.desc, geometry=geometry, marks=marks)


def _kept_marks(shape: Shape, choice: KeepRules) -> Marks:
    """Return the marks that an object keeps.

    Raises:
        UnusableError: If the choice leaves out what is marked so.
    """
    marks = shape.marks
    if marks.is_crowd:
        if choice.crowd != "keep":
            raise UnusableError("crowd", asked=True)
    elif marks.ignore:
        if choice.ignored == "drop":
            raise UnusableError("ignored or difficult", asked=True)
        if choice.ignored == "teach":
            return Marks(area=marks.area)
    return marks


def _remarks(marks: Marks) -> Iterator[tuple[Fate, str]]:
    if marks.is_crowd:
        yield "noted", "a crowd: kept for figures, never taught"
    elif marks.is_ignored:
        yield "noted", "ignored or difficult: kept for figures, never taught"
    elif marks.ignore:
        yield "noted", "ignore beside iscrowd 0: never taught, but counted in figures, as by COCO"


def _check_class(shape: Shape, choice: KeepRules) -> None:
    if not shape.desc.strip():
        raise UnusableError("a shape without a class name")
    if contains_coord_token(shape.desc, SPEC_ALPHABET):
        raise UnusableError("a class name that holds a coord token")
    try:
        shape.desc.encode("utf-8")
    except UnicodeEncodeError:
        raise UnusableError("a class name that is no text") from None
    names = {shape.desc, shape.whole}
    if names & choice.exclude or (choice.include and not names & choice.include):
        raise UnusableError("class not wanted", asked=True)


class _Mapper:
    """One shape on its way to a geometry, and the changes that this takes."""

    def __init__(self, shape: Shape, width: int, height: int) -> None:
        self.shape = shape
        self.width = width
        self.height = height
        self.changes: list[tuple[Fate, str]] = []

    def geometry(self, choice: KeepRules) -> Geometry:
        if self.shape.point is not None:
            return self._point(self.shape.point)
        if choice.points == "only":
            raise UnusableError("no point, and --points only wants no other", asked=True)
        return self._region(choice)

    def _region(self, choice: KeepRules) -> Geometry:
        if choice.geometry == "bbox":
            return self._box(self._whole_box())
        if self.shape.line is not None:
            return self._line(self.shape.line)
        if not self.shape.marks.is_taught:
            return self._whole_region()
        return self._one_outline(choice)

    def _one_outline(self, choice: KeepRules) -> Geometry:
        """Return one polygon, or the box in its place."""
        prefer = choice.geometry == "prefer-poly"
        pieces = self._pieces_if_any() if prefer else self._pieces()
        if prefer and len(pieces) != 1:
            return self._box_instead(pieces)
        if not pieces:
            if self.shape.outlines:
                raise UnusableError(_NO_AREA)
            raise UnusableError(_NO_OUTLINE, asked=True)
        if len(pieces) > 1:
            self._changed("in several pieces: the largest is written")
        return self._polygon(max(pieces, key=ring_area), choice.most_vertices)

    def _whole_region(self) -> Geometry:
        """Return all of a shape that no answer has to spell, pieces, holes and all."""
        try:
            rings = self._rings()
        except UnusableError:
            rings = []
        if self.shape.mask is None:  # only of a mask does the way around say what is a hole
            rings = [ring for ring in map(canonical_ring, rings) if ring]
        if not rings:
            return self._box(self._whole_box())
        return self._polygon(join_rings(rings), None)

    def _pieces_if_any(self) -> list[Ring]:
        """Return the pieces, none where the outline is broken and there is a box beside it."""
        try:
            return self._pieces()
        except UnusableError as error:
            if self.shape.box is None:
                raise
            self._changed(f"{error.reason}, beside a good box: written as a box")
            return []

    def _box_instead(self, pieces: list[Ring]) -> Geometry:
        if pieces:
            self._changed("in several pieces: written as a box")
        elif self.shape.outlines and self.shape.box is not None:
            self._changed("an outline without area: written as a box")
        return self._box(self._whole_box())

    def _whole_box(self) -> Box:
        if self.shape.box is not None:
            return self.shape.box
        if self.shape.line is not None:
            return bounding_box(self.shape.line)
        flaw = self.shape.box_flaw
        try:
            pieces = self._pieces()
        except UnusableError as error:
            raise UnusableError(flaw or error.reason) from None
        if not pieces:
            raise UnusableError(flaw or _NO_AREA)
        if flaw is not None:
            self._changed(f"{flaw}, beside a good outline: the outline's box is written")
        return box_around(pieces)

    def _rings(self) -> Sequence[Ring]:
        """Return the rings of outlines or mask as they are, holes running the other way.

        Raises:
            UnusableError: If they cannot be read.
        """
        if self.shape.outline_flaw is not None:
            raise UnusableError(self.shape.outline_flaw)
        if self.shape.mask is None:
            return self.shape.outlines
        return mask_to_outlines(self.shape.mask, self.width, self.height)

    def _pieces(self) -> list[Ring]:
        """Return canonical rings with area, holes left out."""
        given = self._rings()
        if self.shape.mask is not None:
            traced, given = given, [ring for ring in given if not is_hole(ring)]
            if len(given) < len(traced):
                self._changed("holes of a mask: filled by its outline")
        rings = [ring for ring in map(canonical_ring, given) if ring]
        if rings and len(rings) < len(given):
            self._changed("pieces of an outline without area: left out")
        return rings

    def _box(self, box: Box) -> Geometry:
        x1, y1, x2, y2 = box
        if x1 == x2 or y1 == y2:
            raise UnusableError(_NO_AREA)
        self._count_overhang(box)
        x1, x2 = (min(max(x, 0), self.width) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), self.height) for y in (y1, y2))
        if x1 == x2 or y1 == y2:
            raise UnusableError(_OUTSIDE)
        values = _written((x1, y1, x2, y2))
        if values[0] == values[2] or values[1] == values[3]:
            raise UnusableError(_NO_AREA)
        return Geometry("bbox_2d", values, "px")

    def _polygon(self, ring: Ring, most: int | None) -> Geometry:
        if self._count_overhang(bounding_box(ring)):
            ring = canonical_ring(clip_ring(ring, self.width, self.height))
            if not ring:
                raise UnusableError(_OUTSIDE)
        if most is not None and len(ring) > 2 * most:
            ring = simplify_ring(ring, most)
            self._changed(f"an outline of more than {most} vertices: simplified")
        ring = canonical_ring(_written(ring))
        if not ring:
            raise UnusableError(_NO_AREA)
        if self.shape.mask is None and self.shape.marks.is_taught and crosses_itself(ring):
            self.changes.append(("noted", "an outline that crosses itself"))
        return Geometry("poly", ring, "px")

    def _line(self, line: tuple[float, ...]) -> Geometry:
        # A clipped line can fall into parts, and labelling tools do not draw outside.
        x1, y1, x2, y2 = bounding_box(line)
        if x1 < 0 or y1 < 0 or x2 > self.width or y2 > self.height:
            raise UnusableError("a line that leaves the picture")
        return Geometry("line", _written(line), "px")

    def _point(self, point: tuple[float, float]) -> Geometry:
        # Off the border by more than a rounding it is elsewhere: nothing on the border is meant.
        x, y = point
        if max(-x, -y, x - self.width, y - self.height) > ROUNDING_PX:
            raise UnusableError("a point outside the picture")
        self._count_overhang((x, y, x, y))
        inside = (min(max(x, 0), self.width), min(max(y, 0), self.height))
        return Geometry("point_2d", _written(inside), "px")

    def _count_overhang(self, box: Box) -> bool:
        x1, y1, x2, y2 = box
        overhang = max(-x1, -y1, x2 - self.width, y2 - self.height)
        if overhang > ROUNDING_PX:
            self.changes.append(("clipped", "overhangs its picture"))
        elif overhang > 0:
            self._changed(f"within {ROUNDING_PX} pixels of the border: put on it")
        return overhang > 0

    def _changed(self, reason: str) -> None:
        self.changes.append(("changed", reason))


def _written(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return values to a ten-thousandth of a pixel, whole ones as integers."""
    rounded = [round(float(value), _DECIMALS) for value in values]
    return tuple([int(value) if value.is_integer() else value for value in rounded])
