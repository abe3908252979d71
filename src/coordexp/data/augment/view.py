"""The part of a picture that is looked at, and where things are in it.

A view is a window of the picture, drawn at the picture's own size and perhaps turned over. Places
are pixel edges, continuous, and so is the window: nothing is rounded on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from coordexp.data.contract.geometry import Geometry, bounding_box
from coordexp.data.convert.objects.outline import canonical_ring, clip_ring, ring_area

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A window of a picture.

    Args:
        size: Width and height of the picture, in pixels of its record; those of the view too.
        left: Where the window begins.
        top: The same from above.
        share: Of the picture's width and height that the window has.
        mirrored: Whether left and right are exchanged.
        upside_down: Whether top and bottom are.
    """

    size: tuple[int, int]
    left: float = 0.0
    top: float = 0.0
    share: float = 1.0
    mirrored: bool = False
    upside_down: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the picture is cut off."""
        return self.share == 1.0

    def places(self, values: Sequence[float]) -> list[float]:
        """Return x, y, x, y, ... as they are in the view; some may lie outside of it."""
        found = []
        for axis, value in enumerate(values):
            side, start = self.size[axis % 2], (self.left, self.top)[axis % 2]
            moved = (value - start) / self.share
            turned = (self.mirrored, self.upside_down)[axis % 2]
            found.append(side - moved if turned else moved)
        return found

    def seen(self, geometry: Geometry) -> "Seen":
        """Return what is seen of a geometry in pixels."""
        places = self.places(geometry.values)
        match geometry.rules.form:
            case "corners":
                return _seen_box(bounding_box(places), self.size)
            case "ring":
                return _seen_ring(places, self)
            case "path" | "place":
                return _seen_whole(places, self.size)

    def cuts(self, geometry: Geometry) -> bool:
        """Return whether a line in pixels leaves the view: no part of it is a line again."""
        if geometry.rules.form != "path":
            return False
        places = self.places(geometry.values)
        x1, y1, x2, y2 = bounding_box(places)
        is_away = x2 < 0 or y2 < 0 or x1 > self.size[0] or y1 > self.size[1]
        return not is_away and not _are_inside(places, self.size)

    def picture(self, picture: Image.Image) -> Image.Image:
        """Return what is seen of the picture, whose file may have another size than its record."""
        if not self.is_whole:
            across, down = (picture.width / self.size[0], picture.height / self.size[1])
            x1, y1 = self.left * across, self.top * down
            window = (x1, y1, x1 + picture.width * self.share, y1 + picture.height * self.share)
            # A hair beyond the border, which Pillow refuses, is what floats add.
            box = (*window[:2], min(window[2], picture.width), min(window[3], picture.height))
            picture = picture.resize(picture.size, Image.Resampling.BICUBIC, box=box)
        if self.mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self.upside_down:
            picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return picture


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of something.

    Args:
        values: Where it is, cut off at the border of the view; empty where nothing is left.
        share: How much of it is seen: of its area, or all or nothing of what has none.
    """

    values: Values
    share: float


_NOTHING = Seen((), 0.0)


def _seen_box(box: Values, size: tuple[int, int]) -> Seen:
    x1, y1, x2, y2 = box
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, size[0]), min(y2, size[1]))
    width, height = inside[2] - inside[0], inside[3] - inside[1]
    if width < 0 or height < 0:
        return _NOTHING
    whole = (x2 - x1) * (y2 - y1)
    if whole == 0:  # flat in its bins from the start
        return Seen(inside, 1.0) if inside == box else _NOTHING
    return Seen(inside, width * height / whole) if width and height else _NOTHING


def _seen_ring(places: list[float], view: View) -> Seen:
    width, height = view.size
    if _are_inside(places, view.size):
        # Turned over it runs the other way round, and begins elsewhere.
        turned = canonical_ring(places) if view.mirrored or view.upside_down else ()
        return Seen(turned or tuple(places), 1.0)
    whole, ring = ring_area(places), canonical_ring(clip_ring(places, width, height))
    if not ring or not whole:
        return _NOTHING
    return Seen(ring, abs(ring_area(ring) / whole))


def _seen_whole(places: list[float], size: tuple[int, int]) -> Seen:
    return Seen(tuple(places), 1.0) if _are_inside(places, size) else _NOTHING


def _are_inside(places: Sequence[float], size: tuple[int, int]) -> bool:
    x1, y1, x2, y2 = bounding_box(places)
    return x1 >= 0 and y1 >= 0 and x2 <= size[0] and y2 <= size[1]
