"""A self-contained page out of blocks.

Everything is inline: style, script, pictures, charts. The page's own policy forbids it to load
anything, it reads well on a phone and in the dark, and without its script nothing but comfort is
lost. Blocks are functions from values to `Html`; all text is escaped on its way in.
"""

import base64
import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Literal, NewType

from PIL import Image

from coordexp.files import unfinished_path
from coordexp.viewing.draw import PREDICTED_COLOUR, TRUE_COLOUR

Html = NewType("Html", str)
Tone = Literal["plain", "good", "warn"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
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
class Shot:
    """One picture of a grid.

    Args:
        picture: As it shall appear.
        caption: Below it.
        alt: What a reader who cannot see it should know.
    """

    picture: Image.Image
    caption: str
    alt: str


@dataclass(slots=True)
class Page:
    """A page that grows section by section.

    Args:
        title: Its name.
        subtitle: One sentence below.
        sections: Filled by `add`.
    """

    title: str
    subtitle: str = ""
    sections: list[tuple[str, Html]] = field(default_factory=list)

    def add(self, heading: str, *blocks: Html) -> "Page":
        """Append a section and return the page; without a heading its blocks stand alone."""
        self.sections.append((heading, Html("\n".join(blocks))))
        return self

    def render(self) -> Html:
        """Return the whole document."""
        named = [(f"s{number}", *section) for number, section in enumerate(self.sections)]
        links = "".join(f'<a href="#{key}">{text(name)}</a>' for key, name, _ in named if name)
        body = "\n".join(
            f'<section id="{key}">{f"<h2>{text(name)}</h2>" if name else ""}\n{block}\n</section>'
            for key, name, block in named
        )
        subtitle = f'<p class="subtitle">{text(self.subtitle)}</p>' if self.subtitle else ""
        return Html(
            f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{text(self.title)}</title>
<link rel="icon" href="data:,">
<style>:root {{ --true: {TRUE_COLOUR}; --predicted: {PREDICTED_COLOUR}; }}
{_asset("page.css")}</style>
</head>
<body>
<header><p class="brand">CoordExp</p><h1>{text(self.title)}</h1>{subtitle}
<nav aria-label="Sections">{links}</nav></header>
<main>
{body}
</main>
<dialog id="zoom"><img alt=""><p></p></dialog>
<script>{_asset("page.js")}</script>
</body>
</html>
"""
        )

    def write(self, path: Path) -> None:
        """Write the page; it appears under its name when it is complete."""
        write_atomically(path, self.render())


def write_atomically(path: Path, content: str) -> None:
    """Write a text file that appears under its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished_path(path)
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def text(value: str) -> Html:
    """Return plain text, escaped for any place in a page.

    Example:
        >>> text('<b> & "c"')
        '&lt;b&gt; &amp; &quot;c&quot;'
    """
    return Html(html.escape(value, quote=True))


def paragraph(value: str) -> Html:
    """Return a paragraph of plain text."""
    return Html(f"<p>{text(value)}</p>")


def note(value: str, *, tone: Tone = "plain") -> Html:
    """Return a remark that stands out."""
    return Html(f'<p class="note {tone}" role="note">{text(value)}</p>')


def stat_tiles(tiles: Sequence[Tile]) -> Html:
    """Return figures in large print, side by side."""
    items = "".join(
        f'<div class="tile {tile.tone}"><dt>{text(tile.name)}</dt>'
        f"<dd>{text(tile.value)}<small>{text(tile.remark)}</small></dd></div>"
        for tile in tiles
    )
    return Html(f'<dl class="tiles">{items}</dl>')


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> Html:
    """Return a table; the first column names its row, the others hold figures."""
    titles = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td>{text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    # No <caption>: it would be as wide as the table and scroll away with it on a phone.
    remark = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Html(
        f'<figure class="sheet">{remark}<div class="scroll" tabindex="0"><table><thead><tr>{titles}'
        f"</tr></thead><tbody>{body}</tbody></table></div></figure>"
    )


def cards(blocks: Sequence[Html]) -> Html:
    """Return blocks side by side where there is room, below one another where there is none."""
    return Html(
        '<div class="cards">' + "".join(f"<div>{block}</div>" for block in blocks) + "</div>"
    )


def picture_grid(rows: Sequence[Sequence[Shot]], *, columns: Sequence[str] = ()) -> Html:
    """Return pictures row by row; a click enlarges one.

    Args:
        rows: Pictures that belong together stand in one row, also on a phone.
        columns: What each column shows, where it needs saying.
    """
    groups = []
    for row in rows:
        shots = "".join(_shot(shot, columns[k] if columns else "") for k, shot in enumerate(row))
        groups.append(f'<div class="row n{len(row)}">{shots}</div>')
    return Html(f'<div class="pictures">{"".join(groups)}</div>')


def box_legend() -> Html:
    """Return the key to drawn objects."""
    return Html(
        '<p class="legend"><span class="true"></span> true '
        '<span class="predicted"></span> predicted, with its score</p>'
    )


def commands(steps: Sequence[tuple[str, str]]) -> Html:
    """Return named commands to copy."""
    items = "".join(
        f"<li><p>{text(name)}</p>"
        f'<div class="command"><pre tabindex="0"><code>{text(command)}</code></pre>'
        '<button type="button" hidden>Copy</button></div></li>'
        for name, command in steps
    )
    return Html(f'<ol class="commands">{items}</ol>')


def picture_uri(picture: Image.Image, *, quality: int = _WEBP_QUALITY) -> Html:
    """Return a picture as a data URI."""
    buffer = BytesIO()
    picture.convert("RGB").save(buffer, "WEBP", quality=quality, method=2)
    return Html("data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"))


def _shot(shot: Shot, column: str) -> str:
    width, height = shot.picture.size
    title = f"<b>{text(column)}</b> " if column else ""
    return (
        f'<figure><img src="{picture_uri(shot.picture)}" alt="{text(shot.alt)}" '
        f'width="{width}" height="{height}" loading="lazy">'
        f"<figcaption>{title}{text(shot.caption)}</figcaption></figure>"
    )


def _asset(name: str) -> str:
    return resources.files("coordexp.viewing").joinpath(name).read_text(encoding="utf-8")
