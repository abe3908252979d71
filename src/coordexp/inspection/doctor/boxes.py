"""What becomes of the user's boxes in the bins, and of the pictures on their way to the model."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.box_iou import box_ious
from coordexp.data.contract.geometry import Box, bounding_box
from coordexp.data.contract.record import Geometry, RecordObject
from coordexp.errors import RecordError
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.tokens import Looks, TokenView, answer_objects, answer_text
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, judged
from coordexp.rendering.dense_json import parse_answer
from coordexp.rendering.encode import Encoder
from coordexp.viewing.elements import Sheet

_SHOWN = 8
# Rounding to the nearest bin costs half a bin at most, and a few digits of a float.
_ROUNDING = 0.01
# Below this overlap a box is another one after its way through the bins.
_LEAST_IOU = 0.5
# Pictures whose area changes by more than this before the model sees them.
_SHRUNK, _ENLARGED = 0.25, 4.0


def boxes_there_and_back(pieces: Pieces) -> CheckResult:
    """Read the objects back from the labels, and compare them with the annotation in pixels."""
    encoder, feeds = pieces.take(Encoder), pieces.take(Feeds)
    looks = pieces.take(Looks)
    trips = [
        trip
        for look in looks.examples
        for trip in round_trips(look, encoder, answer_objects(look, feeds.dataset))
    ]
    if not trips:
        if not any(look.record.objects for look in looks.examples):
            return CheckResult("green", "no object in any record: nothing to compare")
        return CheckResult(
            "green", "the records hold coord tokens alone: what they were rounded from is not kept"
        )
    worst = max(trips, key=lambda trip: trip.error_bins)
    least = min(trips, key=lambda trip: trip.iou)
    rows = [
        (
            f"{feeds.short_place(trip.index)} {trip.desc}",
            f"{trip.error_px:.2f}",
            f"{trip.error_bins:.2f}",
            f"{trip.iou:.3f}",
        )
        for trip in sorted(trips, key=lambda trip: trip.iou)[:_SHOWN]
    ]
    head = ["object", "error in pixels", "in bins", "IoU with itself"]
    found = (
        f"{len(trips)} objects: {worst.error_px:.2f} pixels off at most ({worst.error_bins:.2f} "
        f"bins), least IoU with itself {least.iou:.3f}"
    )
    doubts = [
        Doubt(
            worst.error_bins > 1 + _ROUNDING,
            "red",
            "",
            "the tokens are not those of the annotation; make them with coordexp data prepare",
        ),
        Doubt(
            worst.error_bins > 1 / 2 + _ROUNDING,
            "yellow",
            "",
            "the tokens are not the nearest bins; make them with coordexp data prepare",
        ),
        Doubt(
            least.iou < _LEAST_IOU,
            "yellow",
            "",
            "objects that thin need a crop, or more bins (custom.coord_tokens.alphabet)",
        ),
    ]
    return judged(found, doubts, [Sheet("Box, token, box: what loses most", head, rows)])


@dataclass(frozen=True, slots=True)
class Trip:
    """What the way through the bins did to one object.

    Args:
        index: Of its record.
        desc: Its words.
        error_px: Largest change of a coordinate.
        error_bins: The same in bins; rounding costs half a bin at most.
        iou: Of its bounding box with what became of it; 1 for what has no area.
    """

    index: int
    desc: str
    error_px: float
    error_bins: float
    iou: float


def round_trips(look: TokenView, encoder: Encoder, objects: Sequence[RecordObject]) -> list[Trip]:
    """Return what became of an example's objects, of those that are known in pixels.

    Raises:
        RecordError: If the labels do not spell an answer.
    """
    style = encoder.style
    text = answer_text(look, encoder)
    answered = parse_answer(text, alphabet=style.alphabet, coord_tokens=style.coord_tokens)
    if len(answered) != len(objects):
        raise RecordError(f"{len(objects)} objects, {len(answered)} in the labels")
    pairs = zip(objects, answered, strict=True)
    return [
        _trip(look, item, read, style.alphabet)
        for item, (_, read) in pairs
        if item.best_geometry.unit == "px"
    ]


def _trip(look: TokenView, item: RecordObject, read: Geometry, alphabet: CoordAlphabet) -> Trip:
    size = (look.record.width, look.record.height)
    known, back = item.best_geometry.values, read.to_pixels(*size, alphabet)
    errors = [abs(a - b) for a, b in zip(known, back, strict=True)]
    step = [side / (alphabet.bins - 1) for side in size] * (len(errors) // 2)
    return Trip(
        index=look.index,
        desc=item.desc,
        error_px=max(errors),
        error_bins=max(error / one for error, one in zip(errors, step, strict=True)),
        iou=_iou(bounding_box(known), bounding_box(back)) if read.rules.has_area else 1.0,
    )


def _iou(a: Box, b: Box) -> float:
    if a[0] == a[2] or a[1] == a[3]:  # without area from the start: nothing of it can be lost
        return 1.0
    return float(box_ious(a, b)[0])


def pictures(pieces: Pieces) -> CheckResult:
    """Show the grid that each picture becomes, and whether much of it is lost on the way."""
    encoder, feeds = pieces.take(Encoder), pieces.take(Feeds)
    looks = pieces.take(Looks)
    inputs = encoder.inputs
    rows, scales, shares = [], [], []
    for look in looks.examples:
        (_, high, wide), (width, height) = look.grids[0], look.record.file_size
        seen = (wide * inputs.patch_px, high * inputs.patch_px)
        scales.append(seen[0] * seen[1] / (width * height))
        tokens = inputs.tokens_of(look.grids[0])
        shares.append(tokens / len(look.input_ids))
        rows.append(
            (
                feeds.short_place(look.index),
                f"{width} x {height}",
                f"{seen[0]} x {seen[1]}",
                f"{wide} x {high}",
                f"{tokens:,}",
                f"{len(look.input_ids):,}",
            )
        )
    head = ["picture", "pixels", "as the model sees it", "patches", "tokens", "of all"]
    middle = sorted(scales)[len(scales) // 2]
    share = sum(shares) / len(shares)
    doubts = [
        Doubt(
            middle < _SHRUNK,
            "yellow",
            "small objects vanish",
            "raise data.max_pixels, at the price of tokens",
        ),
        Doubt(middle > _ENLARGED, "yellow", "tokens without detail", "lower data.min_pixels"),
    ]
    found = f"pictures take {share:.0%} of the tokens; their area is scaled by {middle:.2f}"
    return judged(found, doubts, [Sheet("Pictures", head, rows[:_SHOWN])])
