"""What a file of records holds, as a page with plots."""

from collections.abc import Sequence

import numpy as np

from coordexp.inspection.survey.stats import FileStats, Spread
from coordexp.inspection.survey.stats_tables import sheets, too_long
from coordexp.viewing.charts import (
    BarChart,
    Histogram,
    LineChart,
    Series,
    bar_chart,
    histogram,
    line_chart,
)
from coordexp.viewing.elements import Tile, Tone
from coordexp.viewing.page import Page

COLUMNS = 30
DESCS_DRAWN = 60


def stats_page(stats: FileStats, *, name: str, told: str) -> Page:
    """Return the page.

    Args:
        stats: What was counted.
        name: Of the file.
        told: Whose tokens were counted.
    """
    spreads, packs, kinds, words, *asked = sheets(stats)
    values = {
        "headline": _tiles(stats),
        "lengths": _length_chart(stats),
        "coverage": _coverage(stats),
        "spreads": spreads,
        "packs": packs,
        "objects": _object_chart(stats),
        "sizes": _size_chart(stats),
        "kinds": kinds,
        "descs": _desc_chart(stats),
        "words": words,
        "asked": asked,
    }
    subtitle = f"{name}, counted {told}."
    return Page(__name__, "statistics.html.j2", "Dataset statistics", subtitle, values)


def _tiles(stats: FileStats) -> list[Tile]:
    lengths = Spread.of(stats.lengths)
    over: Tone = "warn" if stats.too_long else "plain"
    tiles = [
        Tile("Records", f"{len(stats.lengths):,}", f"{sum(stats.objects):,} objects"),
        Tile("Mean tokens", f"{lengths.mean:,.0f}", "picture, prompt and answer"),
        Tile("p95", f"{lengths.p95:,}", "tokens or fewer"),
        Tile("p99", f"{lengths.p99:,}", "tokens or fewer"),
        Tile("Longest", f"{lengths.most:,}", "tokens"),
    ]
    if stats.limit is not None:
        tiles.append(Tile("Too long", f"{stats.too_long:,}", too_long(stats), over))
    return tiles


def _length_chart(stats: FileStats) -> Histogram:
    limit = None if stats.limit is None else float(stats.limit)
    remark = "" if limit is None else "dashed: global_max_length"
    columns = _columns(stats.lengths)
    return histogram(
        "Tokens of an example", columns, x_name="tokens", mark=limit, remark=remark, counted=True
    )


def _coverage(stats: FileStats) -> LineChart:
    ranked = sorted(stats.lengths)
    points = [(float(length), (k + 1) / len(ranked)) for k, length in enumerate(ranked)]
    return line_chart(
        "Share of examples within a length",
        [Series("share", points, noisy=False)],
        x_name="tokens",
        remark="a limit where the curve is flat leaves few out",
        counted=False,
    )


def _object_chart(stats: FileStats) -> Histogram:
    columns = _columns(stats.objects)
    return histogram("Objects of a picture", columns, x_name="objects", counted=True)


def _size_chart(stats: FileStats) -> Histogram:
    sides = np.sqrt(np.asarray(stats.box_share)) * 100
    counts, edges = np.histogram(sides, bins=COLUMNS, range=(0, 100))
    return histogram(
        "Size of a bounding box",
        list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)),
        x_name="%",
        remark="side of a square of its area, in % of that of a square of the picture's",
    )


def _columns(values: Sequence[int]) -> list[tuple[float, float, int]]:
    """Return at most `COLUMNS` columns of whole width."""
    low, high = min(values), max(values) + 1
    width = -(-(high - low) // COLUMNS)
    edges = list(range(low, high + width, width))
    counts, _ = np.histogram(np.asarray(values), bins=edges)
    return [
        (float(start), float(end), count)
        for start, end, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
    ]


def _desc_chart(stats: FileStats) -> BarChart:
    shown = stats.descs.most_common(DESCS_DRAWN)
    bars = [(desc, float(number), f"{number:,}") for desc, number in shown]
    title = f"The most frequent {len(shown)} of {len(stats.descs):,}"
    return bar_chart(title, bars, most=float(max((number for _, number in shown), default=1)))
