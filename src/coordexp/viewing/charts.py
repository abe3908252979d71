"""Charts as inline SVG, which takes its colours and type from the page around it.

Each chart is drawn about as wide as a phone, so that its letters keep their size there; wider
screens show several side by side (`report.cards`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from coordexp.viewing.report import Html, text

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 26
MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart.

    Args:
        name: In the legend.
        points: (x, y) from left to right.
        noisy: Whether the running mean says more than the values.
    """

    name: str
    points: Sequence[tuple[float, float]]
    noisy: bool = True


def line_chart(
    title: str, series: Sequence[Series], *, x_name: str, remark: str = "", counted: bool = True
) -> Html:
    """Return lines over a common axis; noisy ones faint, under their running mean.

    Args:
        title: Above the chart.
        series: Those without points are left out.
        x_name: Below the axis.
        remark: A sentence under the title.
        counted: Whether the axis below counts things, such as steps, and has no fractions.
    """
    drawn = [item for item in series if item.points]
    if not drawn:
        return figure(title, Html('<p class="empty">nothing to draw</p>'), remark)
    xs = [x for item in drawn for x, _ in item.points]
    ys = [y for item in drawn for _, y in item.points]
    frame = _Frame(nice_ticks(min(xs), max(xs), whole=counted), nice_ticks(min(0.0, *ys), max(ys)))
    lines = "".join(_lines(item, frame, k) for k, item in enumerate(drawn))
    legend = ""
    if len(drawn) > 1:
        keys = "".join(f'<span class="key c{k}">{text(s.name)}</span>' for k, s in enumerate(drawn))
        legend = f'<p class="legend">{keys}</p>'
    first, last = drawn[0].points[0][1], drawn[0].points[-1][1]
    label = f"{title}: from {_short(first)} to {_short(last)} over {_short(max(xs))} {x_name}"
    label += "s" if counted else ""
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">'
        f"{frame.axes(x_name)}{lines}</svg>"
    )
    return figure(title, Html(svg + legend), remark)


def bar_chart(title: str, bars: Sequence[tuple[str, float | None, str]], *, most: float) -> Html:
    """Return named horizontal bars from 0 to `most`, each with its figure; None draws no bar."""
    if not bars:
        return figure(title, Html('<p class="empty">nothing to count</p>'))
    rows = "".join(
        f'<li><span>{text(name)}</span><i><b style="width:{_percent(value, most)}"></b></i>'
        f"<em>{text(shown)}</em></li>"
        for name, value, shown in bars
    )
    return figure(title, Html(f'<ol class="bars">{rows}</ol>'))


def histogram(
    title: str,
    columns: Sequence[tuple[float, float, int]],
    *,
    x_name: str,
    mark: float | None = None,
    remark: str = "",
    counted: bool = False,
) -> Html:
    """Return columns over a continuous axis.

    Args:
        title: Above the chart.
        columns: From, to and height of each.
        x_name: Below the axis.
        mark: Where a dashed line stands, None for no line.
        remark: A sentence under the title.
        counted: Whether the axis below counts things and has no fractions.
    """
    if not columns:
        return figure(title, Html('<p class="empty">nothing to count</p>'), remark)
    ends = [columns[0][0], columns[-1][1], *([] if mark is None else [mark])]
    most = max(count for _, _, count in columns)
    across = nice_ticks(min(ends), max(ends), whole=counted)
    frame = _Frame(across, nice_ticks(0, most, whole=True))
    bars = "".join(
        f'<rect class="column" x="{frame.x(low):.1f}" y="{frame.y(count):.1f}" '
        f'width="{max(0.5, frame.x(high) - frame.x(low) - 1):.1f}" '
        f'height="{frame.y(0) - frame.y(count):.1f}"><title>{_short(low)} to {_short(high)}: '
        f"{count:,}</title></rect>"
        for low, high, count in columns
        if count
    )
    line = ""
    if mark is not None:
        at = f"{frame.x(mark):.1f}"
        line = f'<path class="mark" d="M{at} {TOP}L{at} {HEIGHT - BOTTOM}"/>'
    label = f"{title}: from {_short(ends[0])} to {_short(columns[-1][1])} {x_name}"
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">'
        f"{frame.axes(x_name)}{bars}{line}</svg>"
    )
    return figure(title, Html(svg), remark)


def heat_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[int]]],
    *,
    remark: str = "",
) -> Html:
    """Return counts in a table whose cells are as dark as they are large in their row.

    What stands on the diagonal is what should be there, and has another colour. Long names are cut
    short, and whole where one points at them.

    Args:
        title: Above the table.
        columns: Their names; the first ones are those of the rows.
        rows: Name and counts of each.
        remark: A sentence under the title.
    """
    head = "".join(_heading(name, "col") for name in ("", *columns))
    body = ""
    for place, (name, counts) in enumerate(rows):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td class="{"right" if column == place else ""}" style="--heat:{count / total:.2f}">'
            f"{count or ''}</td>"
            for column, count in enumerate(counts)
        )
        body += f"<tr>{_heading(name, 'row')}{cells}</tr>"
    table = f'<table class="heat"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return figure(title, Html(f'<div class="scroll" tabindex="0">{table}</div>'), remark)


def _heading(name: str, scope: str) -> str:
    return f'<th scope="{scope}" title="{text(name)}"><span>{text(name)}</span></th>'


def figure(title: str, content: Html, remark: str = "") -> Html:
    """Return content under a title."""
    small = f"<small>{text(remark)}</small>" if remark else ""
    return Html(
        f'<figure class="chart"><figcaption>{text(title)}{small}</figcaption>{content}</figure>'
    )


def nice_ticks(low: float, high: float, *, whole: bool = False) -> tuple[float, ...]:
    """Return round numbers that enclose a range, about five of them.

    Example:
        >>> nice_ticks(0, 7.3)
        (0.0, 2.0, 4.0, 6.0, 8.0)
        >>> nice_ticks(5, 5)
        (5.0, 6.0)
    """
    span = high - low
    if span <= 0:
        return (float(low), float(low) + 1.0)
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.8), default=10)
    step = max(1.0, round(step)) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(step * k, 12) for k in range(first, last + 1))


def running_mean(
    points: Sequence[tuple[float, float]], share: float = 0.05
) -> list[tuple[float, float]]:
    """Return each value's mean with its neighbours, over a share of the points."""
    reach = int(len(points) * share / 2)
    values = [y for _, y in points]
    smooth = []
    for k, (x, _) in enumerate(points):
        # Equal reach on both sides: the ends are not bent towards the middle.
        near = min(reach, k, len(points) - 1 - k)
        window = values[k - near : k + near + 1]
        smooth.append((x, sum(window) / len(window)))
    return smooth


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `MOST_POINTS` of the points, the last one among them."""
    step = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """The axes of a chart: data on one side, drawing units on the other."""

    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]

    def x(self, value: float) -> float:
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def axes(self, x_name: str) -> str:
        grid = "".join(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(y):.1f}" '
            f'y2="{self.y(y):.1f}"/><text x="{LEFT - 6}" y="{self.y(y) + 4:.1f}" '
            f'text-anchor="end">{_short(y)}</text>'
            for y in self.y_ticks
        )
        shown = self.x_ticks[:-1]
        numbers = "".join(
            f'<text x="{self.x(x):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_short(x)}</text>'
            for x in shown
        )
        name = f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{text(x_name)}</text>'
        return grid + numbers + name


def _lines(series: Series, frame: _Frame, k: int) -> str:
    if not series.noisy:
        return f'<path class="line c{k}" d="{frame.path(thinned(series.points))}"/>'
    mean = running_mean(series.points)
    return (
        f'<path class="line raw c{k}" d="{frame.path(thinned(series.points))}"/>'
        f'<path class="line c{k}" d="{frame.path(thinned(mean))}"/>'
    )


def _short(value: float) -> str:
    """Return a number as an axis shows it."""
    if value and abs(value) < 1e-3:  # noqa: PLR2004 - below, zeros after the point outweigh digits
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.4g}"  # noqa: PLR2004


def _percent(value: float | None, most: float) -> str:
    return f"{max(0.0, min(1.0, (value or 0.0) / most)):.1%}"
