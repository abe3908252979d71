"""Painting shapes at places between the pixels, on grounds made of photographs.

Shapes: `H`, `W` of a picture, `h`, `w` of the part of it that a shape covers, in pixels.

A shape is drawn `FINE` times too large and averaged down, so that its edges fall anywhere and the
picture shows where: a pixel that is half covered is half painted. Boxes are continuous pixel edges,
as everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

FINE = 8
"""Fine steps in a pixel."""

Box = tuple[float, float, float, float]

_DIM_SHARE = 0.6
_PLACEMENT_TRIES = 40
_GAP = 1.0


@dataclass(frozen=True)
class Named:
    """One thing in a picture: its name, and its tight box in pixels."""

    name: str
    box: Box


@dataclass(frozen=True)
class Picture:
    """A picture and everything that is to be found in it."""

    image: UInt8[np.ndarray, "H W 3"]
    things: tuple[Named, ...]

    def to_record(self, path: str) -> dict[str, object]:
        """Return the ordinary record of the picture, in pixels, when it lies at `path`."""
        height, width = self.image.shape[:2]
        objects = [
            {"desc": thing.name, "bbox_2d": [round(edge, 3) for edge in thing.box]}
            for thing in self.things
        ]
        return {"images": [path], "width": width, "height": height, "objects": objects}


class Canvas:
    """A picture that is being painted.

    Args:
        ground: In [0, 1]; changed in place.
        takes_light: Whether what is painted must be light to be seen.
    """

    def __init__(self, ground: Float32[np.ndarray, "H W 3"], *, takes_light: bool) -> None:
        self._ground = ground
        self._takes_light = takes_light
        self._things: list[Named] = []

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._ground.shape[1], self._ground.shape[0]

    def place(self, width: float, height: float, rng: np.random.Generator) -> Box | None:
        """Return a box of a size where nothing is yet, or None after many tries."""
        across, down = self.size
        if width >= across or height >= down:
            return None
        for _ in range(_PLACEMENT_TRIES):
            x, y = rng.uniform(0, across - width), rng.uniform(0, down - height)
            box = (float(x), float(y), float(x + width), float(y + height))
            if all(_apart(box, thing.box) for thing in self._things):
                return box
        return None

    def paint(
        self, fine: Image.Image, corner: tuple[int, int], colour: Float32[np.ndarray, " 3"]
    ) -> None:
        """Lay a shape over the picture.

        Args:
            fine: Its opacity, `FINE` times too large, whose sides are whole pixels.
            corner: The pixel (x, y) of its upper left corner; what lies outside is cut off.
            colour: Red, green and blue in [0, 1].
        """
        opacity = np.asarray(fine.convert("L").reduce(FINE), dtype=np.float32) / 255
        left, top = corner
        across, down = self.size
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + opacity.shape[1], across), min(top + opacity.shape[0], down)
        patch = self._ground[y1:y2, x1:x2]
        patch += opacity[y1 - top : y2 - top, x1 - left : x2 - left, None] * (colour - patch)

    def name(self, thing: Named) -> None:
        """Note what was painted."""
        self._things.append(thing)

    def colour(self, rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
        """Return a colour that can be seen here."""
        tint = rng.uniform(0, 0.35, 3).astype(np.float32)
        return 1 - tint if self._takes_light else tint

    def finished(self) -> Picture:
        """Return the picture, its things in reading order (y1, then x1)."""
        image = np.rint(np.clip(self._ground, 0, 1) * 255).astype(np.uint8)
        things = sorted(self._things, key=lambda thing: (thing.box[1], thing.box[0]))
        return Picture(image=image, things=tuple(things))


def photo_canvas(
    photos: Sequence[Image.Image], width: int, height: int, rng: np.random.Generator
) -> Canvas:
    """Return a canvas on a part of a photo, dimmed or paled so that ink can be seen on it."""
    photo = photos[int(rng.integers(len(photos)))]
    largest = min(photo.width / width, photo.height / height)
    scale = rng.uniform(largest / 4, largest)
    across, down = width * scale, height * scale
    x, y = rng.uniform(0, photo.width - across), rng.uniform(0, photo.height - down)
    crop = photo.resize(
        (width, height), Image.Resampling.BILINEAR, box=(x, y, x + across, y + down)
    )
    texture = np.asarray(crop, dtype=np.float32) / 255
    strength = np.float32(rng.uniform(0.25, 0.5))
    dim = bool(rng.random() < _DIM_SHARE)
    return Canvas(texture * strength if dim else 1 - (1 - texture) * strength, takes_light=dim)


def _apart(one: Box, other: Box) -> bool:
    return (
        one[0] >= other[2] + _GAP
        or one[2] + _GAP <= other[0]
        or one[1] >= other[3] + _GAP
        or one[3] + _GAP <= other[1]
    )
