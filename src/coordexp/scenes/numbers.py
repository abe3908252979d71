"""New convention: numbers of one or two handwritten digits, boxed and named as wholes.

The digits are those that the tiny base knows; what it has learned to say of them is wrong here. It
would name each digit by a word and box it alone. A number's name is written in figures, and the
pictures are not square. Digits and photos of one split never appear in another.
"""

import numpy as np
from jaxtyping import Float
from PIL import Image

from coordexp.scenes.canvas import FINE, Named, Picture, photo_canvas
from coordexp.scenes.digits import AS_WRITTEN, Split, digits_of, draw_ink, photos_of

SIZES = ((160, 96), (96, 160), (144, 112), (112, 144), (192, 96))
"""Width and height of pictures; both are whole cells of the tiny base."""

MOST_NUMBERS = 4
MOST_DIGITS = 2

_SMALLEST, _LARGEST = 20.0, 40.0
_GAPS = (0.02, 0.15)
"""Between two digits, in heights."""

_DROP = 0.1
"""How far a digit may stand off the line, in heights."""


class NumberPainter:
    """Paints pictures of one split; the same generator state gives the same picture."""

    def __init__(self, split: Split) -> None:
        self._glyphs, self._labels = digits_of(split)
        self._photos = [Image.fromarray(photo) for photo in photos_of(split)]

    def paint(self, rng: np.random.Generator) -> Picture:
        """Return a picture of 1 to 4 numbers, or fewer where the last ones found no room."""
        width, height = SIZES[int(rng.integers(len(SIZES)))]
        canvas = photo_canvas(self._photos, width, height, rng)
        for _ in range(int(rng.integers(1, MOST_NUMBERS + 1))):
            name, ink = self._number(rng)
            fine_height, fine_width = ink.shape
            box = canvas.place(fine_width / FINE, fine_height / FINE, rng)
            if box is None:
                continue
            # Places are whole fine steps, so that the box is exactly what is drawn.
            x, y = (int(edge * FINE) for edge in box[:2])
            corner = x // FINE, y // FINE
            canvas.paint(_shifted(ink, x % FINE, y % FINE), corner, canvas.colour(rng))
            edges = (x / FINE, y / FINE, (x + fine_width) / FINE, (y + fine_height) / FINE)
            canvas.name(Named(name=name, box=edges))
        return canvas.finished()

    def _number(self, rng: np.random.Generator) -> tuple[str, Float[np.ndarray, "h w"]]:
        """Return a number and its ink in fine steps, cropped to what is visible."""
        height = rng.uniform(_SMALLEST, _LARGEST) * FINE
        picks = rng.integers(len(self._glyphs), size=int(rng.integers(1, MOST_DIGITS + 1)))
        parts = [
            draw_ink(self._glyphs[pick], int(height), rng, handwriting=AS_WRITTEN) for pick in picks
        ]
        drops = [int(rng.uniform(0, _DROP) * height) for _ in parts]
        gaps = [int(rng.uniform(*_GAPS) * height) for _ in parts]
        ends = np.cumsum([part.shape[1] + gap for part, gap in zip(parts, gaps, strict=True)])
        tall = max(part.shape[0] + drop for part, drop in zip(parts, drops, strict=True))
        ink = np.zeros((tall, int(ends[-1])))
        for part, drop, gap, end in zip(parts, drops, gaps, ends, strict=True):
            ink[drop : drop + part.shape[0], end - gap - part.shape[1] : end - gap] = part
        return "".join(str(self._labels[pick]) for pick in picks), ink[min(drops) :, : -gaps[-1]]


def _shifted(ink: Float[np.ndarray, "h w"], right: int, down: int) -> Image.Image:
    """Return ink some fine steps from the corner, on sides that are whole pixels."""
    height, width = (
        -(-(side + shift) // FINE) * FINE
        for side, shift in zip(ink.shape, (down, right), strict=True)
    )
    grown = np.zeros((height, width))
    grown[down : down + ink.shape[0], right : right + ink.shape[1]] = ink
    return Image.fromarray(np.rint(grown * 255).astype(np.uint8))
