"""True and predicted objects on a picture, through supervision.

True objects are thin and green, predicted ones thick and pink, so that both show where they
agree. Small pictures are enlarged first: a label has the same size on every picture and stays
readable. Labels are drawn with DejaVu Sans, which matplotlib ships; it covers Latin, Greek,
Cyrillic and more, but no Chinese, Japanese or Korean.
"""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from coordexp.data.geometry import bounding_box
from coordexp.data.record import Geometry

with warnings.catch_warnings():
    # It works without OpenCV, on NumPy, and says so each time.
    warnings.filterwarnings("ignore", message="OpenCV", category=UserWarning)
    import supervision as sv

TRUE_COLOUR, PREDICTED_COLOUR = "#00b487", "#f5347f"
COLOURS = sv.ColorPalette.from_hex([TRUE_COLOUR, PREDICTED_COLOUR])
Scene = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

THICKNESS = (3, 5)
ENLARGED_SIDE, LONGEST_SIDE = 640, 960
FONT_SIZE, FONT_PADDING = 27, 5


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
) -> Image.Image:
    """Return a copy of the picture, resized for reading, with the objects drawn on it."""
    canvas, factor = fitted(picture)
    # supervision thinks in OpenCV's channel order: blue first.
    scene = np.array(canvas)[:, :, ::-1].copy()
    for style, objects in enumerate((true, predicted)):
        for item in objects:
            scene = _outline(scene, item.geometry, factor, style)
    scene = _labelled(scene, true, predicted, factor)
    return Image.fromarray(scene[:, :, ::-1])


def fitted(picture: Image.Image) -> tuple[Image.Image, float]:
    """Return the picture in RGB at a size for reading, and the factor it was resized by.

    Small pictures grow by a whole factor, large ones shrink.
    """
    longest = max(picture.size)
    factor = LONGEST_SIDE / longest if longest > LONGEST_SIDE else max(1, ENLARGED_SIDE // longest)
    size = (round(picture.width * factor), round(picture.height * factor))
    return picture.convert("RGB").resize(size, Image.Resampling.BICUBIC), float(factor)


def _outline(
    scene: Scene,
    geometry: Geometry,
    factor: float,
    style: int,
) -> Scene:
    colour, thickness = COLOURS.by_idx(style), THICKNESS[style]
    points = np.rint(np.array(geometry.values).reshape(-1, 2) * factor).astype(np.int64)
    if geometry.kind == "poly":
        return sv.draw_polygon(scene, points, colour, thickness)
    if geometry.kind == "line":
        for (x1, y1), (x2, y2) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
            scene = sv.draw_line(scene, sv.Point(x1, y1), sv.Point(x2, y2), colour, thickness)
        return scene
    (x1, y1), (x2, y2) = points.tolist()
    return sv.draw_rectangle(scene, sv.Rect(x1, y1, x2 - x1, y2 - y1), colour, thickness)


def _labelled(
    scene: Scene,
    true: Sequence[DrawnObject],
    predicted: Sequence[DrawnObject],
    factor: float,
) -> Scene:
    objects = [*true, *predicted]
    if not objects:
        return scene
    boxes = np.array([bounding_box(item.geometry.values) for item in objects], dtype=np.float32)
    detections = sv.Detections(
        xyxy=boxes * np.float32(factor),
        class_id=np.array([0] * len(true) + [1] * len(predicted)),
    )
    # One annotator for both styles, so that no label covers another.
    annotator = sv.RichLabelAnnotator(
        color=COLOURS,
        font_path=str(_font()),
        font_size=FONT_SIZE,
        text_padding=FONT_PADDING,
        smart_position=True,
    )
    return annotator.annotate(scene, detections, labels=[item.label for item in objects])


@cache
def _font() -> Path:
    # The path alone: importing matplotlib takes two seconds.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib, which coordexp depends on, is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
