"""Objects on a picture, through supervision: by class, or true beside predicted.

True objects are thin and green, predicted ones thick and pink, so that both show where they
agree; where nothing is predicted, each class has its colour. A point is the middle of a ring, which
is wider where it is predicted. Of a crowd the lines are thin and the labels left out: they would
cover what is there. Small pictures are enlarged first: a label has the same size on every picture
and stays readable. Labels are drawn with DejaVu Sans, which matplotlib
ships; it covers Latin, Greek, Cyrillic and more, but no Chinese, Japanese or Korean.
"""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from coordexp.data.contract.geometry import Box, bounding_box
from coordexp.data.contract.record import Geometry
from coordexp.viewing.class_colours import class_colour, ink_on

with warnings.catch_warnings():
    # It works without OpenCV, on NumPy, and says so each time.
    warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
    import supervision as sv

Labels = Literal["auto", "on", "off"]
"""Whether objects have labels; `auto` leaves them out where there are more than `MOST_LABELLED`."""

TRUE_COLOUR, PREDICTED_COLOUR = "#00b487", "#f5347f"
Scene = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Points = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

MOST_LABELLED = 30
THICKNESS, THIN = (3, 5), (1, 2)
ENLARGED_SIDE, LONGEST_SIDE = 640, 960
_RING_CORNERS, _RING_SHARE = 24, 3  # its radius, in line widths
FONT_SIZE, FONT_PADDING = 27, 5
SMALL_FONT_SIZE, SMALL_FONT_PADDING = 13, 2


@dataclass(frozen=True, slots=True)
class DrawnObject:
    """One object to draw.

    Args:
        desc: Its label.
        geometry: In pixels of the picture as it was given.
        score: Shown behind the label where there is one.
    """

    desc: str
    geometry: Geometry
    score: float | None = None

    @property
    def label(self) -> str:
        """The text beside the object."""
        return self.desc if self.score is None else f"{self.desc} {self.score:.2f}"


def draw_objects(
    picture: Image.Image,
    *,
    true: Sequence[DrawnObject] = (),
    predicted: Sequence[DrawnObject] = (),
    labels: Labels = "auto",
) -> Image.Image:
    """Return a copy of the picture, resized for reading, with true and predicted objects on it."""
    thin, thick = THIN if is_crowd(len(true) + len(predicted)) else THICKNESS
    strokes = [_Stroke(item, TRUE_COLOUR, thin) for item in true]
    strokes += [_Stroke(item, PREDICTED_COLOUR, thick) for item in predicted]
    return _drawn(picture, strokes, labels)


def draw_by_class(
    picture: Image.Image, objects: Sequence[DrawnObject], *, labels: Labels = "auto"
) -> Image.Image:
    """Return a copy of the picture, resized for reading, with each class in its colour on it."""
    width = THIN[1] if is_crowd(len(objects)) else THICKNESS[0]
    return _drawn(
        picture, [_Stroke(item, class_colour(item.desc), width) for item in objects], labels
    )


def is_crowd(count: int) -> bool:
    """Return whether so many objects are too many for labels."""
    return count > MOST_LABELLED


def fitted(picture: Image.Image) -> tuple[Image.Image, float]:
    """Return the picture in RGB at a size for reading, and the factor it was resized by.

    Small pictures grow by a whole factor, large ones shrink.
    """
    longest = max(picture.size)
    factor = LONGEST_SIDE / longest if longest > LONGEST_SIDE else max(1, ENLARGED_SIDE // longest)
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.convert("RGB").resize(size, Image.Resampling.BICUBIC), float(factor)


@dataclass(frozen=True, slots=True)
class _Stroke:
    """An object and how it is drawn.

    Args:
        item: What.
        colour: As `#rrggbb`.
        thickness: In pixels of the drawn picture.
    """

    item: DrawnObject
    colour: str
    thickness: int


def _drawn(picture: Image.Image, strokes: Sequence[_Stroke], labels: Labels) -> Image.Image:
    canvas, factor = fitted(picture)
    # supervision thinks in OpenCV's channel order: blue first.
    scene = np.array(canvas)[:, :, ::-1].copy()
    for stroke in strokes:
        scene = _outline(scene, stroke, factor)
    if strokes and (labels == "on" or (labels == "auto" and not is_crowd(len(strokes)))):
        scene = _labelled(scene, strokes, factor)
    return Image.fromarray(scene[:, :, ::-1])


def _outline(scene: Scene, stroke: _Stroke, factor: float) -> Scene:
    geometry, thickness = stroke.item.geometry, stroke.thickness
    colour = sv.Color.from_hex(stroke.colour)
    points = np.rint(np.array(geometry.values).reshape(-1, 2) * factor).astype(np.int64)
    match geometry.rules.form:
        case "ring":
            return sv.draw_polygon(scene, points, colour, thickness)
        case "path":
            return _path(scene, points, colour, thickness)
        case "place":
            return _places(scene, points, colour, thickness)
        case "corners":
            (x1, y1), (x2, y2) = points.tolist()
            return sv.draw_rectangle(scene, sv.Rect(x1, y1, x2 - x1, y2 - y1), colour, thickness)


def _path(scene: Scene, points: Points, colour: sv.Color, thickness: int) -> Scene:
    for (x1, y1), (x2, y2) in pairwise(points.tolist()):
        scene = sv.draw_line(scene, sv.Point(x1, y1), sv.Point(x2, y2), colour, thickness)
    return scene


def _places(scene: Scene, points: Points, colour: sv.Color, thickness: int) -> Scene:
    """Draw a ring around each point and a dot in its middle, which is the point."""
    turns = np.linspace(0, 2 * np.pi, _RING_CORNERS, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (_RING_SHARE * thickness)
    for point in points:
        corner = point - thickness // 2
        dot = sv.Rect(int(corner[0]), int(corner[1]), thickness, thickness)
        scene = sv.draw_filled_rectangle(scene, dot, colour)
        around = np.rint(point + ring).astype(np.int64)
        scene = sv.draw_polygon(scene, around, colour, max(1, thickness // 2))
    return scene


def _labelled(scene: Scene, strokes: Sequence[_Stroke], factor: float) -> Scene:
    boxes = np.array([_extent(stroke, factor) for stroke in strokes], dtype=np.float32)
    detections = sv.Detections(xyxy=boxes)
    colours = [stroke.colour for stroke in strokes]
    small = is_crowd(len(strokes))
    # One annotator for all of them, so that no label covers another.
    annotator = sv.RichLabelAnnotator(
        color=sv.ColorPalette.from_hex(colours),
        color_lookup=sv.ColorLookup.INDEX,
        text_color=sv.ColorPalette.from_hex([ink_on(colour) for colour in colours]),
        font_path=str(_font()),
        font_size=SMALL_FONT_SIZE if small else FONT_SIZE,
        text_padding=SMALL_FONT_PADDING if small else FONT_PADDING,
        smart_position=True,
    )
    return annotator.annotate(scene, detections, labels=[stroke.item.label for stroke in strokes])


def _extent(stroke: _Stroke, factor: float) -> Box:
    """Return the box beside which the label stands: around a point, that of its ring."""
    x1, y1, x2, y2 = (value * factor for value in bounding_box(stroke.item.geometry.values))
    is_place = stroke.item.geometry.rules.form == "place"
    reach = _RING_SHARE * stroke.thickness if is_place else 0
    return x1 - reach, y1 - reach, x2 + reach, y2 + reach


@cache
def _font() -> Path:
    # The path alone: importing matplotlib takes two seconds.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib, which coordexp depends on, is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
