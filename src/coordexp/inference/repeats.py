"""Objects that an answer says twice.

A model caught in a loop repeats a box with its bins shifted by one or two. Of such a group the
surest is kept. Off unless asked for: two people on a tandem may well overlap by 0.9.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from coordexp.data.geometry import Box, Geometry, bounding_box


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
    kept: list[int] = []
    for index in sorted(range(len(items)), key=lambda index: -items[index].score):
        if not any(_repeats(items[index], items[other], least_iou) for other in kept):
            kept.append(index)
    stays = set(kept)
    return (
        [item for index, item in enumerate(items) if index in stays],
        [item for index, item in enumerate(items) if index not in stays],
    )


def _repeats(one: Located, other: Located, least_iou: float) -> bool:
    return (
        one.desc == other.desc
        and one.geometry.kind == other.geometry.kind
        and box_iou(bounding_box(one.geometry.values), bounding_box(other.geometry.values))
        >= least_iou
    )


def box_iou(a: Box, b: Box) -> float:
    """Return intersection over union; two equal boxes without area have 1.

    Example:
        >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
        0.3333333333333333
    """
    if a == b:
        return 1.0
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union if union else 0.0
