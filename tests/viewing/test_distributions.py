import re

import pytest
from PIL import Image

from coordexp.viewing.distributions import STRIP, EdgeBelief, bin_distribution
from tests.viewing.rendered import rendered


def one_hot(k: int, bins: int = 1000) -> list[float]:
    return [float(k == place) for place in range(bins)]


def test_a_belief_knows_its_peak_and_the_mass_near_the_truth() -> None:
    probs = one_hot(500)
    probs[505], probs[506] = 0.5, 0.5
    belief = EdgeBelief("x1", 500, probs)
    assert belief.likeliest == 500
    assert belief.near_mass == pytest.approx(0.75)


def test_mass_near_the_border_does_not_wrap() -> None:
    assert EdgeBelief("x1", 2, one_hot(999)).near_mass == 0.0
    assert EdgeBelief("x2", 999, one_hot(999)).near_mass == 1.0


@pytest.mark.parametrize(("edge", "size"), [("x1", 300.0), ("y2", 150.0)])
def test_the_true_edge_crosses_the_picture_where_it_is(edge: str, size: float) -> None:
    picture = Image.new("RGB", (200, 100))
    chart = rendered(
        "charts",
        "belief_chart",
        bin_distribution("cat", picture, [EdgeBelief(edge, 999, one_hot(999))]),
    )
    path = re.search(r'class="true-edge" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', chart)
    assert path is not None
    x, y, x2, y2 = (float(value) for value in path.groups())
    assert (x, x2) == (STRIP + size,) * 2 if edge == "x1" else (y, y2) == (STRIP + size,) * 2


def test_the_error_is_told_in_pixels_of_the_original() -> None:
    picture = Image.new("RGB", (999, 100))
    chart = rendered(
        "charts",
        "belief_chart",
        bin_distribution("cat", picture, [EdgeBelief("x1", 100, one_hot(103))]),
    )
    assert "x1: peak +3.0 px off, 100% within ±5 bins." in chart


def test_an_axis_may_have_any_number_of_bins() -> None:
    belief = EdgeBelief("y1", 1023, one_hot(1023, bins=1024))
    assert belief.at(belief.likeliest, 640) == 640
    chart = bin_distribution("a < b", Image.new("RGB", (64, 64)), [belief])
    assert "<image" in rendered("charts", "belief_chart", chart)
