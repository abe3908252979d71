"""How an object counts: `iscrowd`, `ignore` and `area`, which COCO's figures depend on.

A crowd stands for a group that nobody has taken apart, an ignored object for one that nobody can be
expected to find. Neither is ever taught, and in figures neither is a hit or a miss. Where both keys
stand, `iscrowd` alone decides the figures, for COCO's own tools overwrite `ignore` with it: so
`"iscrowd": 0, "ignore": 1` is not taught, and yet counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from coordexp.data.contract.geometry import shown
from coordexp.errors import RecordError

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
    crowd = _flag(row, "iscrowd") if "iscrowd" in row else None
    ignore = _flag(row, "ignore") if "ignore" in row else False
    area = _area(row["area"]) if "area" in row else None
    if crowd is None and area is None and not ignore:
        return NO_MARKS
    return Marks(crowd, ignore, area)


def has_good_marks(row: Mapping[str, object]) -> bool:
    """Return whether `parse_marks` would take an object's fields, at a third of its time."""
    area = row.get("area", 0)
    return (
        type(area) in _NUMBERS
        and 0 <= area < math.inf  # type: ignore[operator]
        and row.get("iscrowd", 0) in _FLAGS
        and row.get("ignore", 0) in _FLAGS
    )


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


def _flag(row: Mapping[str, object], key: str) -> bool:
    value = row[key]
    if value not in _FLAGS:  # true and false are 1 and 0
        raise RecordError(f"{key}: expected 0 or 1, got {shown(value)}")
    return bool(value)


def _area(value: object) -> float:
    if type(value) not in _NUMBERS or not 0 <= value < math.inf:  # type: ignore[operator]
        raise RecordError(
            f"area: expected square pixels, a finite number from 0 on, got {shown(value)}; "
            "leave the key out where it is not known"
        )
    return value  # type: ignore[return-value]
