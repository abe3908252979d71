"""The keypoints of an annotation as points, each called by its class and its own name.

Category `person` with the keypoint `left_eye` gives points called `person left eye`; a category
without names numbers them, `person keypoint 1`. Which points belong to one person is not kept: an
object of a record is one thing. Visible and hidden ones (`v` 2 and 1) are points alike; what is not
labelled (`v` 0) has no place, is left out and counted.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

from coordexp.data.convert.formats.coco.document import Row
from coordexp.data.convert.formats.coco.ids import id_of
from coordexp.data.convert.reading.shapes import Shape, UnusableError, finite_numbers
from coordexp.data.convert.reading.tally import Tally

KeypointNames = Mapping[Hashable, Sequence[str]]
"""By category id; empty where a category names none."""

_VALUES = 3  # x, y and whether it is labelled


def keypoint_names(categories: Sequence[Row]) -> KeypointNames:
    """Return the names of the keypoints of each category, as its rows give them."""
    names: dict[Hashable, Sequence[str]] = {}
    for row in categories:
        given = row.get("keypoints")
        listed = given if isinstance(given, list) else []
        names[id_of(row.get("id"))] = [name for name in listed if isinstance(name, str)]
    return names


def keypoints_to_shapes(
    row: Row, whole: Shape, names: Sequence[str], tally: Tally
) -> Iterator[Shape]:
    """Yield a point for each labelled keypoint; what is none is dropped and counted.

    Args:
        row: The annotation.
        whole: What it is called, where it stands, and its marks.
        names: Of its category's keypoints; they are numbered where these are not as many.
        tally: Where points without a place are counted.
    """
    try:
        values = finite_numbers(row.get("keypoints") or [])
    except UnusableError as error:
        tally.drop_unread_object(error.reason, whole.place)
        return
    if len(values) % _VALUES:
        tally.drop_unread_object("keypoints that are not x, y and v in turn", whole.place)
        return
    count = len(values) // _VALUES
    numbered = [f"keypoint {k}" for k in range(1, count + 1)]
    known = names if len(names) == count else numbered
    for name, x, y, v in zip(known, values[0::3], values[1::3], values[2::3], strict=True):
        desc = f"{whole.desc} {name.replace('_', ' ')}"
        tally.classes.add(desc)
        if v == 0:
            reason = "a keypoint that is not labelled (v is 0)"
            tally.drop_unread_object(reason, whole.place, asked=True)
            continue
        yield Shape(
            desc=desc,
            place=f"{whole.place}: {name}",
            point=(x, y),
            whole=whole.desc,
            marks=replace(whole.marks, area=None),
        )
