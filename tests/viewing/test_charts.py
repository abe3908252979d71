import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.viewing.charts import (
    MOST_POINTS,
    Series,
    bar_chart,
    histogram,
    line_chart,
    nice_ticks,
    running_mean,
    thinned,
)
from tests.viewing.hostile import EVIL, PageReader
from tests.viewing.rendered import rendered

FINITE = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@given(FINITE, FINITE)
def test_ticks_enclose_their_range_in_equal_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = (high - low) * 1e-6 + 1e-9
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 9
    steps = [y - x for x, y in pairwise(ticks)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 3e-14), (2e-20, 7e-20), (0.9, 0.9 + 2e-16), (5e11, 5e11 + 1)]
)
def test_ticks_of_tiny_ranges_differ(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] < ticks[-1]
    assert len(ticks) <= 9


def test_ticks_of_steps_are_whole() -> None:
    assert nice_ticks(1, 3, whole=True) == (1, 2, 3)
    assert nice_ticks(1, 300, whole=True) == (0, 100, 200, 300)


def test_the_running_mean_keeps_lines_straight_and_ends_in_place() -> None:
    line = [(float(x), 2.0 * x) for x in range(100)]
    assert [y for _, y in running_mean(line)] == pytest.approx([y for _, y in line])
    assert running_mean([(1.0, 5.0)]) == [(1.0, 5.0)]


def test_thinning_keeps_the_last_point() -> None:
    points = [(float(x), 0.0) for x in range(1234)]
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS + 1
    assert kept[-1] == points[-1]
    assert thinned(points[:7]) == points[:7]


def test_points_lie_inside_the_frame() -> None:
    lines = line_chart("loss", [Series("loss", [(1, 9.0), (2, 0.5), (3, 4.0)])], x_name="step")
    chart = rendered("charts", "line_chart", lines)
    places = [float(value) for value in re.findall(r"[ML](-?[\d.]+) ", chart)]
    assert min(places) >= 44
    assert max(places) <= 350
    assert 'aria-label="loss: from 9 to 4 over 3 steps"' in chart


def test_a_quiet_series_has_one_line_and_a_legend_needs_two_series() -> None:
    quiet = Series("a <b>", [(1, 1.0), (2, 2.0)], noisy=False)
    lines = line_chart("t", [quiet, Series("c", [(1, 0.0)]), Series("none", [])], x_name="step")
    chart = rendered("charts", "line_chart", lines)
    assert chart.count("<path") == 3
    assert "a &lt;b&gt;" in chart
    assert "none" not in chart


def test_a_chart_of_nothing_says_so() -> None:
    lines = line_chart("t", [Series("a", [])], x_name="step")
    assert "nothing to draw" in rendered("charts", "line_chart", lines)
    assert "nothing to count" in rendered("charts", "bar_chart", bar_chart("t", [], most=1.0))
    columns = histogram("t", [], x_name="tokens")
    assert "nothing to count" in rendered("charts", "histogram", columns)


def test_small_numbers_are_written_short() -> None:
    lines = line_chart("lr", [Series("lr", [(0, 0.0), (9, 2e-4)])], x_name="step")
    chart = rendered("charts", "line_chart", lines)
    assert ">1e-4<" in chart


def test_bars_are_as_long_as_their_share() -> None:
    bars = bar_chart("AP", [("cat", 0.25, "0.25"), ("dog", None, "none")], most=1.0)
    chart = rendered("charts", "bar_chart", bars)
    assert "width:25.0%" in chart
    assert "width:0.0%" in chart


def test_a_histogram_stands_on_its_axis_and_marks_a_place() -> None:
    chart = histogram("Lengths", [(0, 10, 4), (10, 20, 0), (20, 30, 8)], x_name="tokens", mark=15)
    page = rendered("charts", "histogram", chart)
    columns = [
        tuple(map(float, found))
        for found in re.findall(r'x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', page)
    ]
    (x1, y1, height1), (x2, y2, height2) = columns  # an empty column is not drawn
    assert x1 < x2
    assert height2 == pytest.approx(2 * height1, abs=0.2)
    assert y1 + height1 == pytest.approx(y2 + height2, abs=0.2)
    (mark,) = re.findall(r'class="mark" d="M([\d.]+) ', page)
    assert x1 < float(mark) < x2


def test_all_text_of_charts_stays_text() -> None:
    def every_chart(text: str) -> PageReader:
        series = [Series(text, [(0, 1.0), (1, 2.0)]), Series(text, [(0, 1.0)])]
        lines = line_chart(text, series, x_name=text, remark=text, counted=False)
        columns = histogram(text, [(0, 1, 2)], x_name=text, remark=text)
        reader = PageReader()
        reader.feed(rendered("charts", "line_chart", lines))
        reader.feed(rendered("charts", "histogram", columns))
        reader.feed(rendered("charts", "bar_chart", bar_chart(text, [(text, 1, text)], most=1)))
        return reader

    plain, evil = every_chart("plain"), every_chart(EVIL)
    assert evil.text == plain.text.replace("plain", EVIL)
    assert evil.elements == [
        (tag, {name: value.replace("plain", EVIL) for name, value in attributes.items()})
        for tag, attributes in plain.elements
    ]
