"""New looks: icons that the tiny base has never seen, under names that its tokenizer has as words.

The icons are outlines of the font that matplotlib ships (DejaVu Sans), turned, stretched and
placed freely, so that boxes are exact and no whole pixels. Their names are the ten digit words: the
only ten nouns that are single tokens of the tiny tokenizer, so that what is measured is looking and
pointing, not spelling. A sun that is called `zero` is new to the base all the same.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from PIL import Image, ImageChops, ImageDraw

from coordexp.scenes.canvas import FINE, Named, Picture, photo_canvas
from coordexp.scenes.digits import CLASS_NAMES, Split, photos_of

ICONS = "☀☂★☎☘☮♞⚓✈✎"
"""Sun, umbrella, star, telephone, shamrock, peace sign, knight, anchor, aeroplane, pencil."""

SIDE = 128
MOST_ICONS = 6

_FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
_SMALLEST, _LARGEST = 18.0, 52.0
_TURN_DEGREES = 20.0
_STRETCH = 0.25

Outline = list[Float[np.ndarray, "n 2"]]


class IconPainter:
    """Paints pictures of one split; the same generator state gives the same picture."""

    def __init__(self, split: Split) -> None:
        self._photos = [Image.fromarray(photo) for photo in photos_of(split)]
        self._outlines = [icon_outline(icon) for icon in ICONS]

    def paint(self, rng: np.random.Generator) -> Picture:
        """Return a picture of 1 to 6 icons, or fewer where the last ones found no room."""
        canvas = photo_canvas(self._photos, SIDE, SIDE, rng)
        for _ in range(int(rng.integers(1, MOST_ICONS + 1))):
            pick = int(rng.integers(len(ICONS)))
            outline = _bent(self._outlines[pick], rng)
            width, height = np.concatenate(outline).max(0)
            box = canvas.place(float(width), float(height), rng)
            if box is None:
                continue
            corner = int(box[0]), int(box[1])
            beside = np.array(box[:2]) - corner
            fine = _filled([curve + beside for curve in outline])
            canvas.paint(fine, corner, canvas.colour(rng))
            canvas.name(Named(name=CLASS_NAMES[pick], box=box))
        return canvas.finished()


def icon_outline(icon: str) -> Outline:
    """Return the closed curves of an icon, one unit high, y pointing down."""
    path = TextPath((0, 0), icon, size=100, prop=FontProperties(fname=str(_FONT)))
    curves = [np.asarray(curve) * (1, -1) for curve in path.to_polygons(closed_only=True)]
    points = np.concatenate(curves)
    low, high = points.min(0), points.max(0)
    return [(curve - low) / (high[1] - low[1]) for curve in curves]


def _bent(outline: Outline, rng: np.random.Generator) -> Outline:
    """Return an outline in pixels, turned and stretched, whose box begins at (0, 0)."""
    angle = np.deg2rad(rng.uniform(-1, 1) * _TURN_DEGREES)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag([1 + rng.uniform(-1, 1) * _STRETCH, 1.0])
    turned = [curve @ stretch @ turn.T for curve in outline]
    points = np.concatenate(turned)
    low, high = points.min(0), points.max(0)
    # By the longer side: a long thing is no larger than a high one.
    scale = rng.uniform(_SMALLEST, _LARGEST) / (high - low).max()
    return [(curve - low) * scale for curve in turned]


def _filled(outline: Outline) -> Image.Image:
    """Return the inside of an outline in pixels, `FINE` times too large."""
    width, height = np.ceil(np.concatenate(outline).max(0)).astype(int) + 1
    inside = Image.new("1", (int(width) * FINE, int(height) * FINE))
    for curve in outline:
        # Half a fine step back: PIL's points are the middles of pixels. Curves in curves are holes.
        part = Image.new("1", inside.size)
        corners = [(float(x), float(y)) for x, y in curve * FINE - 0.5]
        ImageDraw.Draw(part).polygon(corners, fill=1)
        inside = ImageChops.logical_xor(inside, part)
    return inside
