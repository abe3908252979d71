import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coordexp.data.convert.objects.mask import is_hole, mask_to_outlines, trace_pixels
from coordexp.data.convert.objects.outline import ring_area
from coordexp.data.convert.reading.shapes import UnusableError

PIXELS = arrays(
    np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 1)
)


def inside(rings: tuple[tuple[float, ...], ...], x: float, y: float) -> bool:
    """Even-odd rule, by the upright sides to the right of a point."""
    crossed = 0
    for ring in rings:
        points = [*zip(ring[0::2], ring[1::2], strict=True)]
        for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
            crossed += x1 == x2 > x and min(y1, y2) < y < max(y1, y2)
    return crossed % 2 == 1


@given(PIXELS)
def test_outlines_enclose_exactly_the_pixels(pixels: np.ndarray) -> None:
    rings = trace_pixels(pixels)
    assert sum(ring_area(ring) for ring in rings) == pixels.sum()
    for row, column in np.ndindex(pixels.shape):
        assert inside(rings, column + 0.5, row + 0.5) == bool(pixels[row, column])


@given(PIXELS)
def test_outlines_hold_corners_only(pixels: np.ndarray) -> None:
    for ring in trace_pixels(pixels):
        steps = np.diff(np.array([*ring, *ring[:4]]).reshape(-1, 2), axis=0)
        assert (np.count_nonzero(steps, axis=1) == 1).all()
        assert (steps[1:] * steps[:-1] == 0).all()


def test_pieces_and_holes() -> None:
    pixels = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 1, 0, 1]])
    outer, hole, dot = trace_pixels(pixels)
    assert outer == (0, 0, 3, 0, 3, 3, 0, 3)
    assert is_hole(hole)
    assert dot == (4, 2, 5, 2, 5, 3, 4, 3)
    # Pixels that touch at a corner stay apart.
    assert len(trace_pixels(np.eye(3))) == 3


@given(PIXELS)
def test_coded_masks_are_read(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    coded = coco_mask.encode(np.asfortranarray(pixels))
    text = {"size": [height, width], "counts": coded["counts"].decode()}
    runs = np.diff(np.flatnonzero(np.diff([2, *pixels.T.ravel(), 2])))
    listed = [0, *runs.tolist()] if pixels[0, 0] else runs.tolist()
    plain = {"size": [height, width], "counts": listed}
    if not pixels.any():
        with pytest.raises(UnusableError, match="without a pixel"):
            mask_to_outlines(text, width, height)
        return
    assert mask_to_outlines(text, width, height) == trace_pixels(pixels)
    assert mask_to_outlines(plain, width, height) == trace_pixels(pixels)


@pytest.mark.parametrize(
    "broken",
    [
        {"size": [4, 4], "counts": [1, 2]},
        {"size": [4, 4], "counts": [-1, 17]},
        {"size": [4, 4], "counts": [10**30]},
        {"size": [4, 4], "counts": "zzzzzzzz"},
        {"size": [4, 4], "counts": "\u00e9"},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": None},
        {"size": [4, 4]},
        {"size": [10**9, 10**9], "counts": "0"},
        {"counts": "0"},
    ],
)
def test_broken_masks_are_refused(broken: dict[str, object]) -> None:
    with pytest.raises(UnusableError, match="a mask"):
        mask_to_outlines(broken, 4, 4)
