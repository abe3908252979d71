"""How an object counts: `iscrowd`, `ignore` and `area`, which COCO's figures depend on.

A crowd stands for a group that nobody has taken apart, an ignored object for one that nobody can be
expected to find. Neither is ever taught, and in figures neither is a hit or a miss. Where both keys
stand, `iscrowd` alone decides the figures, for COCO's own tools overwrite `ignore` with it: so
`"iscrowd": 0, "ignore": 1` is not taught, and yet counts.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from coordexp.data.contract.faults import Fault, raise_first
from coordexp.data.contract.geometry import shown
from coordexp.data.contract.rules import MARKS

MARK_KEYS = frozenset(("iscrowd", "ignore", "area"))
_FLAGS = (0, 1)
_NUMBERS = (int, float)  # and no bool, which is a kind of int


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one object.

    Args:
        iscrowd: Whether it stands for a group; None where the dataset does not say.
        ignore: Whether nobody can be expected to find it, as VOC's difficult ones.
        area: In square pixels of the original picture, where the dataset says so: COCO's is that
            of the mask, and sorts an object into small, medium or large.
    """

    iscrowd: bool | None = None
    ignore: bool = False
    area: float | None = None

    @property
    def is_taught(self) -> bool:
        """Whether training writes it into the answer."""
        return not (self.iscrowd or self.ignore)

    @property
    def is_crowd(self) -> bool:
        """Whether figures treat it as a crowd."""
        return self.iscrowd is True

    @property
    def is_ignored(self) -> bool:
        """Whether figures pass over it, and it is no crowd."""
        return self.ignore and self.iscrowd is None


NO_MARKS = Marks()


def parse_marks(row: Mapping[str, object]) -> Marks:
    """Return the marks of an object's JSON fields.

    Raises:
        RecordError: If one of them has another value than 0 or 1, or an area that is no number.
    """
    if MARK_KEYS.isdisjoint(row):
        return NO_MARKS
    raise_first(mark_faults(row))
    crowd = bool(row["iscrowd"]) if "iscrowd" in row else None
    ignore = bool(row.get("ignore"))
    area = cast("float", row["area"]) if "area" in row else None
    if crowd is None and area is None and not ignore:
        return NO_MARKS
    return Marks(crowd, ignore, area)


def mark_faults(row: Mapping[str, object]) -> Iterator[Fault]:
    """Yield what is wrong with the marks among an object's JSON fields."""
    for key in ("iscrowd", "ignore"):
        if row.get(key, 0) not in _FLAGS:  # true and false are 1 and 0
            yield Fault(MARKS, f"{key}: expected 0 or 1, got {shown(row[key])}")
    area = row.get("area", 0)
    if type(area) not in _NUMBERS or not 0 <= area < math.inf:  # type: ignore[operator]
        message = (
            f"area: expected square pixels, a finite number from 0 on, got {shown(area)}; "
            "leave the key out where it is not known"
        )
        yield Fault(MARKS, message)


def marks_to_json(marks: Marks) -> dict[str, int | float]:
    """Return the fields that `parse_marks` reads; none for an ordinary object."""
    row: dict[str, int | float] = {}
    if marks.iscrowd is not None:
        row["iscrowd"] = int(marks.iscrowd)
    if marks.ignore:
        row["ignore"] = 1
    if marks.area is not None:
        row["area"] = marks.area
    return row
