"""Whether the corners of VOC files count from 0 or from 1, by what they are.

A corner at 0 cannot come from a file that counts from 1. A box from 1 to the picture's whole width
or height comes from one that does: counted from 0 it would begin at 0. Without either nothing shows
it, for corners at 1 are near the border in both; VOC's own way is then assumed, and said aloud.
"""

from coordexp.data.contract.geometry import Box

_MOST_ONES = 5
"""Files that count from 0 have about as many corners at 1 as at 0. With more than this many for
each one at 0, the ones at 0 may be mistakes in a file that counts from 1."""

_OPTIONS = "say which it is with --zero-based or --one-based"


class CornerCount:
    """Counts corners near the border, and decides."""

    def __init__(self) -> None:
        self.boxes = 0
        self.first_zero = ""
        self._zeros = 0
        self._ones = 0
        self._spans = 0

    def add(self, box: Box, width: object, height: object, place: str) -> None:
        """Count a box, with the size of its picture as it is stated."""
        self.boxes += 1
        if min(box) < 1:
            self.first_zero = self.first_zero or place
        for first, last, size in ((box[0], box[2], width), (box[1], box[3], height)):
            self._zeros += first < 1
            self._ones += first == 1
            self._spans += first == 1 and last == size

    @property
    def is_zero_based(self) -> bool:
        """Whether corners count from 0; VOC's 1 where nothing shows it."""
        return self._zeros > 0 and self._ones <= _MOST_ONES * self._zeros

    @property
    def doubt(self) -> str | None:
        """What is said where nothing decides it, or None where something does."""
        if self.is_zero_based:
            return None
        if self._zeros:
            return (
                f"VOC corners count from 0 or from 1: {self._zeros:,} lie at 0, but {self._ones:,} "
                f"at 1, so that the former are taken for mistakes and 1 is subtracted; {_OPTIONS}"
            )
        if self._spans:
            return None
        return (
            "VOC corners count from 0 or from 1, and nothing here shows which: no corner lies at "
            "0, and no box goes from 1 to the end of its picture. From 1 is assumed, as VOC does; "
            f"if that is wrong all boxes are a pixel too large. {_OPTIONS[0].upper()}{_OPTIONS[1:]}"
        )
