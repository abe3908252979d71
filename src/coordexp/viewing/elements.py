"""What the elements of pages show; `templates/elements.html.j2` says how they look."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from PIL import Image

Tone = Literal["plain", "good", "warn"]

_WEBP_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large print.

    Args:
        name: What it is.
        value: Already formatted.
        remark: A few words below.
        tone: Whether it is good news.
    """

    name: str
    value: str
    remark: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Args:
        title: Above it; empty for none.
        head: Names of the columns.
        rows: The first cell names its row, the others hold figures.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class HeatTable:
    """Counts in a table whose cells are as dark as they are large in their row.

    What stands on the diagonal is what should be there, and has another colour.

    Args:
        title: Above the table.
        columns: Their names; the first ones are those of the rows.
        rows: Name and counts of each.
        remark: A sentence under the title.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class InlinePicture:
    """A picture as a page holds it.

    Args:
        uri: All of it, as a data URI.
        width: In pixels.
        height: In pixels.
    """

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a grid.

    Args:
        picture: As it shall appear.
        caption: Below it.
        alt: What a reader who cannot see it should know.
    """

    picture: InlinePicture
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class FilterChoice:
    """One choice of a filter.

    Args:
        value: What it leaves; empty for everything.
        shown: Its name for a reader.
    """

    value: str
    shown: str


def filter_choices(everything: str, counts: Counter[str]) -> list[FilterChoice]:
    """Return the choices of a filter: everything, then the most frequent first.

    Args:
        everything: The name of the choice that leaves all.
        counts: How often each value is found.
    """
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        FilterChoice("", everything),
        *(FilterChoice(value, f"{value} ({count:,})") for value, count in ranked),
    ]


def inline_picture(picture: Image.Image, *, quality: int = _WEBP_QUALITY) -> InlinePicture:
    """Return a picture as a page holds it."""
    buffer = BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=quality, method=2)
    return InlinePicture(data_uri("image/webp", buffer.getvalue()), *picture.size)


def data_uri(kind: str, content: bytes) -> str:
    """Return a file as an address that holds all of it.

    Example:
        >>> data_uri("text/plain", b"a")
        'data:text/plain;base64,YQ=='
    """
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")
