"""Objects that an answer says twice.

A model caught in a loop repeats a box with its bins shifted by one or two. Of such a group the
surest is kept. Off unless asked for: two people on a tandem may well overlap by 0.9.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from coordexp.data.contract.box_iou import box_ious
from coordexp.data.contract.geometry import Geometry, bounding_box


class Located(Protocol):
    """What can repeat something else."""

    @property
    def desc(self) -> str:
        """What it is."""
        ...

    @property
    def geometry(self) -> Geometry:
        """Where it is."""
        ...

    @property
    def score(self) -> float:
        """How sure it is."""
        ...


T = TypeVar("T", bound=Located)


def without_repeats(items: Sequence[T], least_iou: float) -> tuple[list[T], list[T]]:
    """Return what stays, in its order, and what repeats something surer.

    Args:
        items: Of one image.
        least_iou: Two objects with the same desc and kind are one if their bounding boxes overlap
            this much.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault((item.desc, item.geometry.kind), []).append(index)
    stays = {
        members[place]
        for members in groups.values()
        for place in _surest([items[index] for index in members], least_iou)
    }
    return (
        [item for index, item in enumerate(items) if index in stays],
        [item for index, item in enumerate(items) if index not in stays],
    )


def _surest(items: Sequence[Located], least_iou: float) -> list[int]:
    """Return the places of those that repeat nothing surer.

    Each that is kept is compared with all that are left, at once: time grows with the square of
    their number, memory does not.
    """
    boxes = np.array([bounding_box(item.geometry.values) for item in items], dtype=np.float64)
    left = np.array(sorted(range(len(items)), key=lambda index: -items[index].score))
    kept = []
    while len(left):
        surest, left = int(left[0]), left[1:]
        kept.append(surest)
        left = left[box_ious(boxes[surest], boxes[left]) < least_iou]
    return kept
