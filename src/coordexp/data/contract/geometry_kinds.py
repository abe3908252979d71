"""The kinds of geometry, and all that tells one from another: a new kind is a row of `KINDS`.

What checks, renders, reads, constrains, draws and measures objects asks here for the number of
points and the form, and never for a kind by its name. What a form alone decides stands with whoever
needs it: how a ring is drawn in `coordexp.viewing`, what is measured of a place in
`coordexp.evaluation`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

GeometryKind = Literal["bbox_2d", "poly", "line", "point_2d"]
GEOMETRY_KINDS: tuple[GeometryKind, ...] = get_args(GeometryKind)

Form = Literal["corners", "ring", "path", "place"]
"""Two opposite corners, the smaller first; a closed outline; an open line; single places."""


@dataclass(frozen=True, slots=True)
class KindRules:
    """What is particular to one kind.

    Args:
        form: How its points are meant.
        noun: What a reader calls one.
        least_points: It has no fewer.
        most_points: And no more; None for any number.
        spelled: Its values, as a question and an error show them.
    """

    form: Form
    noun: str
    least_points: int
    most_points: int | None
    spelled: str

    @property
    def has_area(self) -> bool:
        """Whether it is a region, so that overlaps can be measured."""
        return self.form in ("corners", "ring")

    @property
    def count(self) -> str:
        """How many values it has, in words."""
        least = 2 * self.least_points
        return f"{least} values" if self.most_points == self.least_points else f"at least {least}"

    def is_whole(self, values: int) -> bool:
        """Return whether so many values can be one."""
        return values % 2 == 0 and values >= 2 * self.least_points and not self.is_over(values)

    def is_full(self, values: int) -> bool:
        """Return whether no value can follow so many."""
        return self.most_points is not None and values >= 2 * self.most_points

    def is_over(self, values: int) -> bool:
        """Return whether so many values are too many."""
        return self.most_points is not None and values > 2 * self.most_points


# In the order in which errors and the default question name them, and a decoder tries them.
KINDS: Mapping[GeometryKind, KindRules] = {
    "bbox_2d": KindRules("corners", "a box", 2, 2, "x1, y1, x2, y2"),
    "poly": KindRules("ring", "a polygon", 3, None, "x1, y1, x2, y2, x3, y3, ..."),
    "line": KindRules("path", "a line", 2, None, "x1, y1, x2, y2, ..."),
    "point_2d": KindRules("place", "a point", 1, 1, "x, y"),
}
