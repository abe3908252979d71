"""A record and its picture as an epoch sees them: a pure function of seed, epoch and record.

The picture keeps its size, and the answer never grows: what was measured of a record before a run,
such as which records share a pack, holds in every epoch. So a window is looked at enlarged, and one
that would make the answer longer, by more corners of an outline, is not taken.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image, ImageEnhance

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.augment.view import View
from coordexp.data.augment.words import Flip, speaks_of_sides
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record, RecordObject

_COLOURS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What may happen to a record.

    Args:
        flip_left_right: How probable it is that left and right are exchanged.
        flip_up_down: The same of top and bottom.
        crop: How probable it is that a window is looked at in place of the whole.
        least_side: The smallest share of width and height that a window has.
        least_visible: An object of which less is seen in the window is left out of the answer.
        colour: By how much brightness, contrast and saturation are more or less, at most.
    """

    flip_left_right: float
    flip_up_down: float
    crop: float
    least_side: float
    least_visible: float
    colour: float


def augmented(
    record: Record,
    picture: Image.Image,
    what: Augmentation,
    *,
    alphabet: CoordAlphabet,
    seed: int,
    epoch: int,
    index: int,
) -> tuple[Record, Image.Image]:
    """Return a record and its picture as an epoch sees them; the objects are in pixels.

    No picture is turned over whose prompt or descs say on which side something is.

    Args:
        record: What there is.
        picture: As it is stored.
        what: What may happen.
        alphabet: Of records in coord tokens.
        seed: Of the run.
        epoch: Which pass over the data.
        index: Which record.
    """
    # The same numbers are drawn whatever becomes of them, so that one refusal moves no other.
    rng = random.Random(f"augment/{seed}/{epoch}/{index}")
    flips = (rng.random() < what.flip_left_right, rng.random() < what.flip_up_down)
    is_cut, share = rng.random() < what.crop, rng.uniform(what.least_side, 1.0)
    across, down = rng.random(), rng.random()
    strengths = [rng.uniform(1 - what.colour, 1 + what.colour) for _ in _COLOURS]
    size = (record.width, record.height)
    whole = View(
        size,
        mirrored=flips[0] and not _speaks(record, "left_right"),
        upside_down=flips[1] and not _speaks(record, "up_down"),
    )
    rest = 1 - share
    window = replace(whole, left=across * rest * size[0], top=down * rest * size[1], share=share)
    view, objects = whole, _seen_objects(record, whole, alphabet, least_visible=0.0)
    if is_cut:
        fewer = _seen_objects(record, window, alphabet, least_visible=what.least_visible)
        if _is_fit(record, window, fewer, alphabet):
            view, objects = window, fewer
    if view != View(size):
        record, picture = replace(record, objects=objects), view.picture(picture)
    if what.colour:
        for change, strength in zip(_COLOURS, strengths, strict=True):
            picture = change(picture).enhance(strength)
    return record, picture


def _speaks(record: Record, flip: Flip) -> bool:
    return speaks_of_sides([record.prompt or "", *(item.desc for item in record.taught)], flip)


def _seen_objects(
    record: Record, view: View, alphabet: CoordAlphabet, *, least_visible: float
) -> tuple[RecordObject, ...]:
    """Return what is taught in a view, in its pixels."""
    return tuple(
        replace(item, geometry=replace(geometry, values=seen.values), exact=None)
        for item in record.taught
        for geometry in [_in_pixels(item, view, alphabet)]
        for seen in [view.seen(geometry)]
        if seen.values and seen.share >= least_visible
    )


def _in_pixels(item: RecordObject, view: View, alphabet: CoordAlphabet) -> Geometry:
    geometry = item.best_geometry
    return Geometry(geometry.kind, geometry.to_pixels(*view.size, alphabet), "px")


def _is_fit(
    record: Record, window: View, objects: Sequence[RecordObject], alphabet: CoordAlphabet
) -> bool:
    """Return whether a window may be looked at in place of the whole.

    Not one without anything that is taught, with a part of a line, with a longer answer, or without
    all that a record's own prompt asks for.
    """
    taught = record.taught
    if (taught and not objects) or (record.prompt and len(objects) < len(taught)):
        return False
    if any(window.cuts(_in_pixels(item, window, alphabet)) for item in taught):
        return False
    return _coordinates(objects) <= _coordinates(taught)


def _coordinates(objects: Sequence[RecordObject]) -> int:
    return sum(len(item.geometry.values) for item in objects)
