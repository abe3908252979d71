"""What a page shows of the objects found: those that are sure enough, of the classes asked."""

from collections.abc import Collection, Sequence

from PIL import Image

from coordexp.answers.prediction_lines import Scored
from coordexp.viewing.draw import DrawnObject, draw_by_class

ShownRow = tuple[str, float, str, str]
"""Desc, score, kind of geometry and its coordinates."""


def shown_objects(
    found: Sequence[Scored], *, least_score: float, classes: Collection[str]
) -> list[Scored]:
    """Return the objects that are shown, the surest first.

    Args:
        found: All of them.
        least_score: Of an object that is shown.
        classes: Descs that are shown; none for all.
    """
    kept = [
        item
        for item in found
        if item.score >= least_score and (not classes or item.desc in classes)
    ]
    return sorted(kept, key=lambda item: item.score, reverse=True)


def drawn_picture(picture: Image.Image, objects: Sequence[Scored]) -> Image.Image:
    """Return the picture with objects on it."""
    drawn = [DrawnObject(item.desc, item.geometry, item.score) for item in objects]
    return draw_by_class(picture, drawn)


def object_rows(objects: Sequence[Scored]) -> list[ShownRow]:
    """Return the lines of a table of objects; coordinates are rounded to tenths of a pixel."""
    return [
        (
            item.desc,
            round(item.score, 3),
            item.geometry.kind,
            ", ".join(f"{value:.1f}" for value in item.geometry.values),
        )
        for item in objects
    ]
