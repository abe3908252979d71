"""Records to look at: each picture with its objects, the answer taught, and what the bins cost."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.record import Geometry, Record, RecordObject
from coordexp.data.files.image import load_annotated_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.data.plan.ordering import ordered_objects
from coordexp.errors import RecordError
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.style import RenderingStyle
from coordexp.viewing.draw import DrawnObject, Labels, draw_by_class, is_crowd
from coordexp.viewing.elements import Sheet
from coordexp.viewing.page import Page
from coordexp.viewing.samples import Sample, sample_browser, sample_picture

PICTURE_SIDE = 640
MOST_LISTED = 8
DASH = "\N{EN DASH}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def chosen_records(count: int, *, limit: int, seed: int | None) -> list[int]:
    """Return which records to show, in the order of the file.

    Args:
        count: How many there are.
        limit: How many to choose.
        seed: Of a random choice; None chooses the first ones.
    """
    if seed is None or limit >= count:
        return list(range(min(limit, count)))
    return sorted(random.Random(seed).sample(range(count), limit))


def gallery_page(
    records: RecordFile,
    chosen: Sequence[int],
    style: RenderingStyle,
    *,
    labels: Labels = "auto",
) -> Page:
    """Return a page of records.

    A picture that cannot be opened leaves its place to the reason.

    Args:
        records: The file.
        chosen: Which of them.
        style: Of the answer.
        labels: Whether objects have their names beside them; `auto` where there are few.

    Raises:
        RecordError: If a record breaks the contract; `coordexp data check` lists them all.
    """
    samples = []
    console = Console(stderr=True)
    for index in track(
        chosen, "draw", console=console, transient=True, disable=not console.is_terminal
    ):
        record, title = records[index], f"line {index + 1}"
        samples.append(
            record_sample(records.root, record, style, index=index, title=title, labels=labels)
        )
    missing = sum(sample.picture is None for sample in samples)
    told = f"{missing:,} of {len(chosen):,} pictures could not be opened." if missing else ""
    subtitle = f"{records.path.name}: {len(chosen):,} of {len(records):,} records."
    values = {"missing": told, "browser": sample_browser(samples)}
    return Page(__name__, "records.html.j2", "Records", subtitle, values)


def record_sample(
    root: Path,
    record: Record,
    style: RenderingStyle,
    *,
    index: int,
    title: str,
    labels: Labels = "auto",
) -> Sample:
    """Return a record as it is shown; a picture that cannot be opened is the reason for that.

    Args:
        root: The folder that its path is relative to.
        record: What is shown.
        style: Of the answer.
        index: Of the record among all, for a random order of objects.
        title: Where it stands.
        labels: Whether objects have their names beside them.
    """
    picture, remark = _picture(root, record, style, labels)
    ordering, alphabet = style.object_ordering, style.alphabet
    objects = ordered_objects(record, ordering, seed=0, epoch=0, index=index, alphabet=alphabet)
    answer = render_answer(
        objects,
        record.width,
        record.height,
        alphabet=alphabet,
        json_format=style.json_format,
        coord_tokens=style.coord_tokens,
    )
    rows = [_row(number, item, record, alphabet) for number, item in enumerate(objects, start=1)]
    return Sample(
        title=f"{title}: {record.image}",
        picture=None if picture is None else sample_picture(picture),
        remark=remark,
        answer=answer,
        sheet=Sheet("", ["object", "error", "pixels", "bins", "pixels again"], rows),
        classes=[item.desc for item in objects],
    )


def _picture(
    root: Path, record: Record, style: RenderingStyle, labels: Labels
) -> tuple[Image.Image | None, str]:
    """Return the picture with its objects, and the words below it."""
    try:
        picture = load_annotated_image(root, record)
    except RecordError as error:
        return None, error.message
    width, height = record.width, record.height
    drawn = [
        DrawnObject(item.desc, _in_pixels(item.best_geometry, width, height, style.alphabet))
        for item in record.taught
    ]
    shown = draw_by_class(picture, drawn, labels=labels)
    if not is_crowd(len(drawn)):  # a crowd is looked at enlarged
        shown.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    asked = "" if record.prompt is None else f" · asked: {record.prompt}"
    untaught = len(record.objects) - len(drawn)
    hidden = f", {untaught} more are crowds or ignored" if untaught else ""
    return shown, f"{width} x {height} pixels, {len(drawn)} objects{hidden}{asked}"


def _in_pixels(geometry: Geometry, width: int, height: int, alphabet: CoordAlphabet) -> Geometry:
    return replace(geometry, values=geometry.to_pixels(width, height, alphabet), unit="px")


def _row(number: int, item: RecordObject, record: Record, alphabet: CoordAlphabet) -> list[str]:
    """Return an object's way from pixels to bins and back."""
    size = (record.width, record.height)
    bins = item.geometry.to_bins(*size, alphabet)
    back = Geometry(item.geometry.kind, bins, "bin").to_pixels(*size, alphabet)
    name = f"{number} {item.desc}"
    known = item.best_geometry
    if known.unit == "bin":
        return [name, DASH, "not kept", _listed(bins), _listed(back)]
    error = max(abs(a - b) for a, b in zip(known.values, back, strict=True))
    return [name, f"{error:.2f}{NO_BREAK}px", _listed(known.values), _listed(bins), _listed(back)]


def _listed(values: Sequence[float]) -> str:
    """Return coordinates as a cell shows them; of long outlines only how many points they have."""
    if len(values) > MOST_LISTED:
        return f"{len(values) // 2} points"
    texts = [f"{value:.1f}".removesuffix(".0") for value in values]
    # A narrow cell breaks between points, never inside one.
    return " ".join(x + NO_BREAK + y for x, y in zip(texts[0::2], texts[1::2], strict=True))
