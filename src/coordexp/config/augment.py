"""What happens to pictures and records while they are learned from; off unless asked for."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from coordexp.config.block import Block
from coordexp.data.augment.augment import Augmentation
from coordexp.data.augment.words import Flip, speaks_of_sides

Probability = Annotated[float, Field(ge=0, le=1)]


class Augment(Block):
    """Another view of each training record in each epoch, from the seed; nothing by default."""

    flip_left_right: Probability = 0.0
    """How probable it is that left and right are exchanged. Records whose prompt or descs speak of
    left or right stay as they are."""
    flip_up_down: Probability = 0.0
    """The same of top and bottom, with the words for these."""
    crop: Probability = 0.0
    """How probable it is that a window of the picture is looked at, enlarged to its size."""
    crop_least_side: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The smallest share of the picture's width and height that a window has."""
    least_visible: Probability = 0.3
    """An object of which less than this share is in the window is left out of the answer."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """By how much brightness, contrast and saturation each are more or less, at most; 0.3 is 0.7
    to 1.3 times."""

    @property
    def flips(self) -> tuple[Flip, ...]:
        """The flips that there may be."""
        across: tuple[Flip, ...] = ("left_right",) if self.flip_left_right else ()
        return (*across, "up_down") if self.flip_up_down else across

    def to_augmentation(self) -> Augmentation | None:
        """Return the value that the rest of the code takes, None where nothing happens."""
        if not (self.flips or self.crop or self.colour):
            return None
        return Augmentation(
            flip_left_right=self.flip_left_right,
            flip_up_down=self.flip_up_down,
            crop=self.crop,
            least_side=self.crop_least_side,
            least_visible=self.least_visible,
            colour=self.colour,
        )

    def wrong_flips(self, prompts: Sequence[str]) -> Iterator[Flip]:
        """Yield the flips under which a question would be wrong."""
        yield from (flip for flip in self.flips if speaks_of_sides(prompts, flip))
