"""How a family's stock model writes boxes as text, when it has learned no coord tokens."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BoxText:
    """A family's own convention for boxes.

    Args:
        box_key: Key of a box's four numbers in the JSON list.
        label_key: Key of what it is.
        steps: What the full width and the full height are in these numbers; None where they are
            pixels of the picture at the size that the model looked at.
    """

    box_key: str
    label_key: str
    steps: int | None

    def to_pixels(
        self, values: Sequence[float], *, size: tuple[int, int], seen: tuple[int, int]
    ) -> tuple[float, ...]:
        """Return x and y in turn, in pixels of a picture.

        Args:
            values: As the model wrote them.
            size: Width and height of the picture.
            seen: Width and height at which the model looked at it.

        Example:
            >>> per_mille = BoxText("bbox_2d", "label", steps=1000)
            >>> per_mille.to_pixels([250, 500, 1000, 1000], size=(640, 480), seen=(640, 480))
            (160.0, 240.0, 640.0, 480.0)
        """
        whole = seen if self.steps is None else (self.steps, self.steps)
        return tuple(value * size[axis % 2] / whole[axis % 2] for axis, value in enumerate(values))
