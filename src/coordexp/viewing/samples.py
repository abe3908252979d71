"""Pictures with what is known about them beside each, to browse and to filter by class."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from coordexp.viewing.class_colours import class_colour
from coordexp.viewing.report import Html, picture_uri, table, text

_PICTURE_QUALITY = 78
_MOST_KEYS = 24
NO_OBJECTS = "(no objects)"


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and what stands beside it.

    Args:
        title: Above it.
        picture: As it shall appear; None where there is none.
        remark: Below the picture, or in its place.
        answer: A text as the model has to write it.
        head: Of the table below.
        rows: Of the same.
        classes: What is in the picture; the filter offers it.
    """

    title: str
    picture: Image.Image | None
    remark: str
    answer: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    classes: Sequence[str]


def sample_block(sample: Sample) -> Html:
    """Return one sample; its picture is encoded here, so that thousands need no memory at once."""
    found = sorted(set(sample.classes)) or [NO_OBJECTS]
    figures = table(sample.head, sample.rows) if sample.rows else ""
    return Html(
        f'<article class="sample" data-classes="{text(json.dumps(found, ensure_ascii=False))}">'
        f"<h3>{text(sample.title)}</h3>{_picture(sample)}"
        f'<div class="beside"><pre class="answer" tabindex="0"><code>{text(sample.answer)}</code>'
        f"</pre>{figures}</div></article>"
    )


def sample_browser(blocks: Sequence[Html], classes: Sequence[Sequence[str]]) -> Html:
    """Return samples below a filter by class, which appears where scripts run.

    Args:
        blocks: Of `sample_block`.
        classes: Those of each sample.
    """
    counts = Counter(name for found in classes for name in (set(found) or {NO_OBJECTS}))
    options = "".join(
        f'<option value="{text(name)}">{text(name)} ({count:,})</option>'
        for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    return Html(
        '<p class="filter" hidden><label>Show <select id="class-filter"><option value="">every '
        f"class ({len(blocks):,})</option>{options}</select></label> "
        f'<output for="class-filter"></output></p>'
        f'<div class="samples">{"".join(blocks)}</div>'
    )


def _picture(sample: Sample) -> str:
    caption = f"<figcaption>{text(sample.remark)}</figcaption>"
    if sample.picture is None:
        return f'<div class="row"><figure class="missing">{caption}</figure></div>'
    width, height = sample.picture.size
    uri = picture_uri(sample.picture, quality=_PICTURE_QUALITY)
    return (
        f'<div class="row"><figure><img src="{uri}" alt="{text(sample.title)}" width="{width}" '
        f'height="{height}" loading="lazy">{caption}</figure>{_key(sample.classes)}</div>'
    )


def _key(classes: Sequence[str]) -> str:
    """Return which colour is which class, the most frequent ones first."""
    counts = sorted(Counter(classes).items(), key=lambda pair: (-pair[1], pair[0]))
    keys = "".join(
        f'<span class="key" style="--key:{class_colour(name)}">{text(name)} '
        f"<small>{count:,}</small></span>"
        for name, count in counts[:_MOST_KEYS]
    )
    more = len(counts) - _MOST_KEYS
    rest = f"<small>and {more:,} more</small>" if more > 0 else ""
    return f'<p class="legend classes">{keys}{rest}</p>' if keys else ""
