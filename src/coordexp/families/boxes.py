"""How a family's stock model is asked for boxes, and how it writes them, without coord tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordexp.families.picture_grid import PictureGrid, smart_resize


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxText:
    """A family's own convention for boxes.

    Args:
        box_key: Key of a box's four numbers in the JSON list.
        point_key: Key of a point's two numbers.
        label_key: Key of what it is.
        steps: What the full width and the full height are in these numbers; None where they are
            pixels of the picture at the size that the model looked at.
        question: Asks for the boxes of some classes, which stand where `{classes}` is.
        open_question: Asks for the boxes of everything.
    """

    box_key: str
    point_key: str
    label_key: str
    steps: int | None
    question: str
    open_question: str

    def ask(self, classes: Sequence[str]) -> str:
        """Return the question for some classes, or for everything where there are none."""
        if not classes:
            return self.open_question
        return self.question.replace("{classes}", ", ".join(classes))

    def to_pixels(
        self, values: Sequence[float], *, size: tuple[int, int], seen: tuple[int, int]
    ) -> tuple[float, ...]:
        """Return x and y in turn, in pixels of a picture.

        Args:
            values: As the model wrote them.
            size: Width and height of the picture.
            seen: Width and height at which the model looked at it.

        Example:
            >>> from coordexp.families.qwen3_vl.family import QWEN3_VL
            >>> box = [250, 500, 1000, 1000]
            >>> QWEN3_VL.boxes.to_pixels(box, size=(640, 480), seen=(640, 480))
            (160.0, 240.0, 640.0, 480.0)
        """
        whole = seen if self.steps is None else (self.steps, self.steps)
        return tuple(value * size[axis % 2] / whole[axis % 2] for axis, value in enumerate(values))


@dataclass(frozen=True, slots=True)
class StockAnswers:
    """How the stock model of one checkpoint answers.

    Args:
        boxes: Its family's convention.
        grid: The sizes at which it looks at pictures.
    """

    boxes: BoxText
    grid: PictureGrid

    def to_pixels(
        self, values: Sequence[float], *, size: tuple[int, int], stored: tuple[int, int]
    ) -> tuple[float, ...]:
        """Return x and y in turn, in pixels of a picture.

        Args:
            values: As the model wrote them.
            size: Width and height of the picture.
            stored: Those of its file, where that was resized.

        Raises:
            RecordError: If the picture is too thin to be looked at.
        """
        return self.boxes.to_pixels(values, size=size, seen=smart_resize(*stored, self.grid))
