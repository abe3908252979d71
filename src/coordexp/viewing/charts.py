"""The geometry of charts, which `templates/charts.html.j2` draws as inline SVG.

They take their colours and type from the page around them. Each chart is drawn about as wide as a
phone, so that its letters keep their size there; wider screens show several side by side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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


@dataclass(frozen=True, slots=True)
class ChartFrame:
    """The axes of a chart: data on one side, drawing units on the other."""

    width: ClassVar = 360
    height: ClassVar = 210
    left: ClassVar = 44
    right: ClassVar = 350
    top: ClassVar = 10
    bottom: ClassVar = 184

    x_ticks: tuple[float, ...]
    y_ticks: tuple[float, ...]
    x_name: str

    def x(self, value: float) -> float:
        """Return the place of a value from left to right."""
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Return the place of a value from top to bottom."""
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Return a line through points of the data."""
        return "M" + "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def across(self) -> list[tuple[float, str]]:
        """Return place and number of each tick below; the last one leaves its room to the name."""
        return [(self.x(value), short_number(value)) for value in self.x_ticks[:-1]]

    def upwards(self) -> list[tuple[float, str]]:
        """Return place and number of each tick on the left."""
        return [(self.y(value), short_number(value)) for value in self.y_ticks]


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """One series of a line chart.

    Args:
        name: In the legend.
        path: What is drawn strong.
        raw: What is drawn faint below it; empty for nothing.
    """

    name: str
    path: str
    raw: str


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over a common axis.

    Args:
        title: Above the chart.
        remark: A sentence under the title.
        label: All of it in words.
        frame: None where there is nothing to draw.
        lines: In the order of their colours.
        mark: Where a dashed line stands, in drawing units; None for no line.
    """

    title: str
    remark: str = ""
    label: str = ""
    frame: ChartFrame | None = None
    lines: Sequence[DrawnLine] = ()
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a histogram, in drawing units.

    Args:
        x: Its left side.
        y: Its top.
        width: From left to right.
        height: From top to bottom.
        told: What it stands for, in words.
    """

    x: float
    y: float
    width: float
    height: float
    told: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Columns over a continuous axis.

    Args:
        title: Above the chart.
        remark: A sentence under the title.
        label: All of it in words.
        frame: None where there is nothing to count.
        columns: Those that are not empty.
        mark: Where a dashed line stands, in drawing units; None for no line.
    """

    title: str
    remark: str = ""
    label: str = ""
    frame: ChartFrame | None = None
    columns: Sequence[Column] = ()
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """Named horizontal bars.

    Args:
        title: Above the chart.
        bars: Name, length in percent and figure of each.
    """

    title: str
    bars: Sequence[tuple[str, str, str]]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str,
    remark: str = "",
    counted: bool = True,
    mark: float | None = None,
) -> LineChart:
    """Return lines over a common axis; noisy ones faint, under their running mean.

    Args:
        title: Above the chart.
        series: Those without points are left out.
        x_name: Below the axis.
        remark: A sentence under the title.
        counted: Whether the axis below counts things, such as steps, and has no fractions.
        mark: Where a dashed line stands, among the points; None for no line.
    """
    drawn = [item for item in series if item.points]
    if not drawn:
        return LineChart(title, remark)
    xs = [x for item in drawn for x, _ in item.points]
    ys = [y for item in drawn for _, y in item.points]
    across, upwards = (
        nice_ticks(min(xs), max(xs), whole=counted),
        nice_ticks(min(0.0, *ys), max(ys)),
    )
    frame = ChartFrame(across, upwards, x_name)
    first, last = drawn[0].points[0][1], drawn[0].points[-1][1]
    label = (
        f"{title}: from {short_number(first)} to {short_number(last)} "
        f"over {short_number(max(xs))} {x_name}{'s' if counted else ''}"
    )
    lines = [_line(item, frame) for item in drawn]
    return LineChart(title, remark, label, frame, lines, None if mark is None else frame.x(mark))


def bar_chart(
    title: str, bars: Sequence[tuple[str, float | None, str]], *, most: float
) -> BarChart:
    """Return named horizontal bars from 0 to `most`, each with its figure; None draws no bar."""
    return BarChart(title, [(name, _percent(value, most), shown) for name, value, shown in bars])


def histogram(
    title: str,
    columns: Sequence[tuple[float, float, int]],
    *,
    x_name: str,
    mark: float | None = None,
    remark: str = "",
    counted: bool = False,
) -> Histogram:
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
        return Histogram(title, remark)
    ends = [columns[0][0], columns[-1][1], *([] if mark is None else [mark])]
    most = max(count for _, _, count in columns)
    across = nice_ticks(min(ends), max(ends), whole=counted)
    frame = ChartFrame(across, nice_ticks(0, most, whole=True), x_name)
    drawn = [_column(frame, *column) for column in columns if column[2]]
    label = f"{title}: from {short_number(ends[0])} to {short_number(columns[-1][1])} {x_name}"
    return Histogram(title, remark, label, frame, drawn, None if mark is None else frame.x(mark))


def nice_ticks(low: float, high: float, *, whole: bool = False) -> tuple[float, ...]:
    """Return round numbers that enclose a range, about five of them.

    Example:
        >>> nice_ticks(0, 7.3)
        (0.0, 2.0, 4.0, 6.0, 8.0)
        >>> nice_ticks(5, 5)
        (5.0, 6.0)
    """
    span = high - low
    if span <= 1e-9 * max(abs(low), abs(high)):  # below, ticks would be one number
        return (float(low), float(low) + 1.0)
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.8), default=10)
    step = max(1.0, round(step)) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 12 - math.floor(math.log10(step))  # a step may be tiny
    return tuple(round(step * k, digits) for k in range(first, last + 1))


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


def short_number(value: float) -> str:
    """Return a number as an axis shows it."""
    if value and abs(value) < 1e-3:  # noqa: PLR2004 - below, zeros after the point outweigh digits
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.4g}"  # noqa: PLR2004


def _line(series: Series, frame: ChartFrame) -> DrawnLine:
    values = frame.path(thinned(series.points))
    if not series.noisy:
        return DrawnLine(series.name, values, raw="")
    return DrawnLine(series.name, frame.path(thinned(running_mean(series.points))), raw=values)


def _column(frame: ChartFrame, low: float, high: float, count: int) -> Column:
    return Column(
        x=frame.x(low),
        y=frame.y(count),
        width=max(0.5, frame.x(high) - frame.x(low) - 1),
        height=frame.y(0) - frame.y(count),
        told=f"{short_number(low)} to {short_number(high)}: {count:,}",
    )


def _percent(value: float | None, most: float) -> str:
    return f"{max(0.0, min(1.0, (value or 0.0) / most)):.1%}"
