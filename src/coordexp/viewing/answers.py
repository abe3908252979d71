"""Answers of a model beside what is true, to browse: pictures, mistakes, probable and odd tokens.

Boxes are drawn by the browser over the picture, not into it, so that they stay sharp at any size
and can be pointed at. Five hundred pictures open at once: each is small, and is decoded when it
comes into sight.
"""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.record import Geometry
from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.draw import is_crowd
from coordexp.viewing.report import Html, text

LONGEST_SIDE, QUALITY = 480, 75
NO_MISTAKE = "(no mistake)"


@dataclass(frozen=True, slots=True)
class Mark:
    """One object of a picture.

    Args:
        desc: What it is, or is said to be.
        group: The class that it counts for; the filter offers it.
        geometry: In pixels of the original picture.
        true: Whether it is there, or is said to be.
        score: Of a predicted one.
        mistake: What is wrong with it, in a word or two; empty where nothing is.
        also: Another class under which the filter finds the mistake.
    """

    desc: str
    group: str
    geometry: Geometry
    true: bool
    score: float | None = None
    mistake: str = ""
    also: str | None = None


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One picture with its objects and the model's words.

    Args:
        title: Above it.
        remark: Below the title.
        picture: The original; None where it cannot be opened.
        size: Width and height of the original.
        marks: What is there and what is said.
        tokens: The pieces of the answer with their probabilities; with None where not known.
    """

    title: str
    remark: str
    picture: Image.Image | None
    size: tuple[int, int]
    marks: Sequence[Mark]
    tokens: Sequence[tuple[str, float | None]]


def answer_block(answer: ShownAnswer) -> Html:
    """Return one answer; its picture is encoded here, so that hundreds need no memory at once."""
    mistakes = sorted(
        {
            (mark.mistake, name)
            for mark in answer.marks
            for name in (mark.group, mark.also)
            if mark.mistake and name is not None
        }
    )
    return Html(
        f'<article class="sample answered" data-classes="{_json(_classes(answer))}" '
        f'data-mistakes="{_json(mistakes)}"><h3>{text(answer.title)}'
        f"<small>{text(answer.remark)}</small></h3>{_stage(answer)}"
        f'<div class="beside">{_list(answer.marks)}{_words(answer.tokens)}</div></article>'
    )


def answer_browser(blocks: Sequence[Html], answers: Sequence[Sequence[Mark]]) -> Html:
    """Return answers below filters by class and mistake, which appear where scripts run.

    Args:
        blocks: Of `answer_block`.
        answers: The marks of each.
    """
    classes = Counter(name for marks in answers for name in {mark.group for mark in marks})
    kinds = Counter(
        kind
        for marks in answers
        for kind in ({mark.mistake for mark in marks if mark.mistake} or {NO_MISTAKE})
    )
    return Html(
        '<p class="filter" hidden>'
        + _select("class-filter", "Class", f"every class ({len(blocks):,})", classes)
        + _select("mistake-filter", "Mistake", f"any ({len(blocks):,})", kinds)
        + _switch("labels", "Labels", (("", "where few"), ("on", "on"), ("off", "off")))
        + _switch("colours", "Colours", (("", "true, predicted"), ("class", "by class")))
        + '<output for="class-filter mistake-filter"></output></p>'
        + f'<div class="samples">{"".join(blocks)}</div>'
    )


def answer_legend() -> Html:
    """Return the key to drawn objects."""
    return Html(
        '<p class="legend"><span class="true"></span> true <span class="true missed"></span> '
        'missed <span class="predicted"></span> predicted and right '
        '<span class="predicted wrong"></span> predicted and wrong</p>'
    )


def _select(key: str, name: str, everything: str, counts: Counter[str]) -> str:
    options = "".join(
        f'<option value="{text(value)}">{text(value)} ({count:,})</option>'
        for value, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    return (
        f'<label>{text(name)} <select id="{key}"><option value="">{text(everything)}</option>'
        f"{options}</select></label> "
    )


def _switch(key: str, name: str, choices: Sequence[tuple[str, str]]) -> str:
    """Return a choice of how all pictures are drawn; the script writes it to `data-<key>`."""
    options = "".join(f'<option value="{value}">{text(shown)}</option>' for value, shown in choices)
    return f'<label>{text(name)} <select data-switch="{key}">{options}</select></label> '


def _classes(answer: ShownAnswer) -> list[str]:
    return sorted({mark.group for mark in answer.marks})


def _json(value: object) -> Html:
    return text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _stage(answer: ShownAnswer) -> str:
    width, height = answer.size
    if answer.picture is None:
        picture = '<p class="missing">The picture cannot be opened.</p>'
    else:
        picture = (
            f'<img src="{_thumbnail_uri(answer.picture)}" alt="{text(answer.title)}" '
            f'width="{width}" height="{height}" loading="lazy" decoding="async">'
        )
    # True boxes last, since they are thinner.
    ranked = sorted(enumerate(answer.marks), key=lambda pair: pair[1].true)
    size = max(width, height) / 32
    shapes = "".join(_shape(mark, k, size) for k, mark in ranked)
    crowd = " crowd" if is_crowd(sum(not mark.true for mark in answer.marks)) else ""
    return (
        f'<figure class="stage{crowd}" style="aspect-ratio:{width}/{height}">{picture}'
        f'<svg viewBox="0 0 {width} {height}" font-size="{size:.3g}" aria-hidden="true">'
        f"{shapes}</svg></figure>"
    )


def _thumbnail_uri(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BILINEAR)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _shape(mark: Mark, number: int, size: float) -> str:
    points = " ".join(f"{value:.4g}" for value in _outline(mark.geometry))
    tag = "polyline" if mark.geometry.kind == "line" else "polygon"
    x1, y1, _, _ = bounding_box(mark.geometry.values)
    label = (
        ""
        if mark.true
        else f'<text x="{x1:.4g}" y="{max(size, y1 - size / 4):.4g}">{text(mark.desc)}</text>'
    )
    return (
        f'<g class="{_style(mark)}" data-k="{number}" style="--class:{class_colour(mark.desc)}">'
        f'<{tag} points="{points}"/>{label}</g>'
    )


def _outline(geometry: Geometry) -> Sequence[float]:
    if geometry.kind != "bbox_2d":
        return geometry.values
    x1, y1, x2, y2 = geometry.values
    return (x1, y1, x2, y1, x2, y2, x1, y2)


def _style(mark: Mark) -> str:
    if mark.true:
        return "true missed" if mark.mistake else "true"
    return "predicted wrong" if mark.mistake else "predicted"


def _list(marks: Sequence[Mark]) -> str:
    items = "".join(
        f'<li class="{_style(mark)}" data-k="{k}" style="--class:{class_colour(mark.desc)}">'
        f"<b>{text(mark.desc)}</b> "
        f"{'' if mark.score is None else f'{mark.score:.2f}'}"
        f"{f'<em>{text(mark.mistake)}</em>' if mark.mistake else ''}</li>"
        for k, mark in enumerate(marks)
    )
    return f'<ul class="marks">{items}</ul>' if items else ""


def _words(tokens: Sequence[tuple[str, float | None]]) -> str:
    """Return the answer; a token's colour says how probable it was, where that is known."""
    pieces = "".join(
        text(piece)
        if probability is None or probability == 1.0
        else f'<i class="p{_tone(probability)}" title="{probability:.2g}">{text(piece)}</i>'
        for piece, probability in tokens
    )
    known = any(probability is not None for _, probability in tokens)
    name = "ShownAnswer, coloured by probability" if known else "ShownAnswer"
    return (
        f'<details class="words"><summary>{name}</summary>'
        f'<pre class="answer" tabindex="0"><code>{pieces}</code></pre></details>'
    )


def _tone(probability: float) -> int:
    """Return 0 for odd to 4 for nearly certain."""
    return sum(probability >= bound for bound in (0.25, 0.5, 0.8, 0.95))
