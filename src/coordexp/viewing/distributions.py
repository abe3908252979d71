"""What the model believed about each edge of a box, drawn along the picture.

A coordinate is a distribution over the bins of an axis. Those of x1 and x2 run along the top of the
picture, those of y1 and y2 along its left side, each to the scale of its own peak; dashed lines
mark the true edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, NamedTuple

from PIL import Image

from coordexp.coord_tokens.codec import CoordAlphabet, bin_to_pixel
from coordexp.viewing.elements import InlinePicture, inline_picture

Edge = Literal["x1", "y1", "x2", "y2"]

STRIP = 54
PICTURE_SIDE = 300
NEAR_BINS = 5
_VISIBLE = 1 / 200


@dataclass(frozen=True, slots=True)
class EdgeBelief:
    """The distribution of one coordinate.

    Args:
        edge: Which of a box's four.
        true_bin: Where it is.
        probs: Of each bin, inside the coord vocabulary.
    """

    edge: Edge
    true_bin: int
    probs: Sequence[float]

    @property
    def likeliest(self) -> int:
        """The bin of the peak, the first of several."""
        return max(range(len(self.probs)), key=self.probs.__getitem__)

    @property
    def near_mass(self) -> float:
        """The probability within `NEAR_BINS` of the truth."""
        low = max(0, self.true_bin - NEAR_BINS)
        return sum(self.probs[low : self.true_bin + NEAR_BINS + 1]) / sum(self.probs)

    def at(self, k: int, size: float) -> float:
        """Return the place of bin `k` on an axis of this size."""
        return bin_to_pixel(k, size, _alphabet(len(self.probs)))


class DrawnEdge(NamedTuple):
    """One edge of a belief chart, in drawing units.

    Args:
        belief: The distribution's outline.
        truth: The line of the true edge.
        told: How far off the peak is, in words.
    """

    belief: str
    truth: str
    told: str


@dataclass(frozen=True, slots=True)
class BeliefChart:
    """A picture with the distributions of a box's edges along its sides.

    Args:
        title: Above it.
        picture: Sharper than it is drawn.
        width: Of the drawn picture.
        height: Of the drawn picture.
        edges: Of the box.
    """

    title: str
    picture: InlinePicture
    width: float
    height: float
    edges: Sequence[DrawnEdge]
    strip: ClassVar = STRIP

    @property
    def label(self) -> str:
        """All of it in words."""
        told = " ".join(edge.told for edge in self.edges)
        return f"Distributions over bins for {self.title}. {told}"


@cache
def _alphabet(bins: int) -> CoordAlphabet:
    # Building one checks every token's spelling.
    return CoordAlphabet(bins=bins)


def bin_distribution(
    title: str, picture: Image.Image, beliefs: Sequence[EdgeBelief]
) -> BeliefChart:
    """Return the picture with the distributions of a box's edges along its sides.

    Args:
        title: Above it.
        picture: The original one; beliefs are about its edges.
        beliefs: Any of the four edges.
    """
    scale = PICTURE_SIDE / max(picture.size)
    width, height = picture.width * scale, picture.height * scale
    sharp = picture.resize((round(2 * width), round(2 * height)), Image.Resampling.BICUBIC)
    edges = [
        DrawnEdge(*_drawn(belief, width, height), _told(belief, picture.size)) for belief in beliefs
    ]
    return BeliefChart(title, inline_picture(sharp), width, height, edges)


def _told(belief: EdgeBelief, size: tuple[int, int]) -> str:
    pixels = size[0] if belief.edge[0] == "x" else size[1]
    off = belief.at(belief.likeliest, pixels) - belief.at(belief.true_bin, pixels)
    return (
        f"{belief.edge}: peak {off:+.1f} px off, {belief.near_mass:.0%} within ±{NEAR_BINS} bins."
    )


def _drawn(belief: EdgeBelief, width: float, height: float) -> tuple[str, str]:
    """Return outline and true edge of a belief; y is the drawing of x, turned over the diagonal."""
    along, across = (width, height) if belief.edge[0] == "x" else (height, width)
    true = STRIP + belief.at(belief.true_bin, along)
    line = [(true, 0.0), (true, STRIP + across)]
    shape = _silhouette(belief, along)
    if belief.edge[0] == "y":
        line, shape = [(y, x) for x, y in line], [(y, x) for x, y in shape]
    return f"{_path(shape)}Z", _path(line)


def _silhouette(belief: EdgeBelief, along: float) -> list[tuple[float, float]]:
    """Return the outline of the visible part, standing on the picture's border."""
    peak = max(belief.probs)
    visible = [k for k, p in enumerate(belief.probs) if p >= peak * _VISIBLE]
    base = float(STRIP)
    # One bin more on each side, so that a single sharp bin still has a width.
    low, high = max(0, visible[0] - 1), min(len(belief.probs) - 1, visible[-1] + 1)
    places = [STRIP + belief.at(k, along) for k in range(low, high + 1)]
    heights = [base - belief.probs[k] / peak * (STRIP - 6) for k in range(low, high + 1)]
    outline = list(zip(places, heights, strict=True))
    return [(places[0] - 0.6, base), *outline, (places[-1] + 0.6, base)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
