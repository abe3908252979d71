import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import (
    SPEC_ALPHABET,
    CoordAlphabet,
    bin_to_pixel,
    checked_bin,
    contains_coord_token,
    ints_to_tokens,
    is_coord_token,
    pixel_to_bin,
    pixels_to_bins,
    token_to_int,
    tokens_to_ints,
)
from coordexp.errors import RecordError

LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)

alphabets = st.sampled_from([SPEC_ALPHABET, LOC, CoordAlphabet(bins=2)])
sizes = st.one_of(
    st.integers(1, 1_000_000), st.floats(1e-3, 1e6, allow_nan=False, allow_subnormal=False)
)


@given(alphabets, st.data())
def test_every_bin_survives_its_token(alphabet: CoordAlphabet, data: st.DataObject) -> None:
    bins = data.draw(st.lists(st.integers(0, alphabet.bins - 1)))
    tokens = ints_to_tokens(bins, alphabet)
    assert tokens_to_ints(tokens, alphabet) == tuple(bins)
    assert all(is_coord_token(token, alphabet) for token in tokens)


@given(sizes, alphabets, st.data())
def test_every_bin_survives_its_pixel(
    size: float, alphabet: CoordAlphabet, data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, alphabet.bins - 1))
    assert pixel_to_bin(bin_to_pixel(k, size, alphabet), size, alphabet) == k


@pytest.mark.parametrize("size", [1, 28, 639, 640, 1333, 4096])
@pytest.mark.parametrize("alphabet", [SPEC_ALPHABET, LOC])
def test_all_bins_of_common_sizes_survive(size: int, alphabet: CoordAlphabet) -> None:
    bins = range(alphabet.bins)
    assert [pixel_to_bin(bin_to_pixel(k, size, alphabet), size, alphabet) for k in bins] == [*bins]


@given(sizes, alphabets, st.floats(0, 1))
def test_a_round_trip_errs_by_half_a_bin_at_most(
    size: float, alphabet: CoordAlphabet, share: float
) -> None:
    x = share * size
    error = abs(bin_to_pixel(pixel_to_bin(x, size, alphabet), size, alphabet) - x)
    assert error <= size / (2 * (alphabet.bins - 1)) * (1 + 1e-9)


@given(st.integers(1, 100_000), st.data())
def test_whole_pixels_round_half_up_exactly(size: int, data: st.DataObject) -> None:
    x = data.draw(st.integers(0, size))
    assert pixel_to_bin(x, size, SPEC_ALPHABET) == math.floor(
        Fraction(x * 999, size) + Fraction(1, 2)
    )


@given(sizes, st.floats(0, 1), st.floats(0, 1))
def test_bins_keep_the_order_of_pixels(size: float, a: float, b: float) -> None:
    low, high = sorted((a * size, b * size))
    assert pixel_to_bin(low, size, SPEC_ALPHABET) <= pixel_to_bin(high, size, SPEC_ALPHABET)


def test_golden_bins() -> None:
    # 320 / 640 * 999 = 499.5, up to 500; 1 / 1998 * 999 = 0.5, up to 1; 100 / 480 * 999 = 208.125
    assert pixel_to_bin(320, 640, SPEC_ALPHABET) == 500
    assert pixel_to_bin(1, 1998, SPEC_ALPHABET) == 1
    assert pixel_to_bin(100, 480, SPEC_ALPHABET) == 208
    assert pixel_to_bin(640, 640, SPEC_ALPHABET) == 999
    assert pixel_to_bin(0.49999999999999994, 999, SPEC_ALPHABET) == 0
    assert bin_to_pixel(208, 480, SPEC_ALPHABET) == pytest.approx(99.93994, abs=1e-5)
    assert bin_to_pixel(999, 640, SPEC_ALPHABET) == 640.0
    assert pixel_to_bin(224, 224, LOC) == 1023
    assert LOC.token(7) == "<loc0007>"


@pytest.mark.parametrize("x", [-1e-9, 640.0001, math.nan, math.inf, -math.inf, 10**400, -(10**400)])
def test_a_pixel_outside_the_image_is_refused(x: float) -> None:
    with pytest.raises(RecordError, match=r"expected a coordinate in 0\.\.640 pixels"):
        pixel_to_bin(x, 640, SPEC_ALPHABET)


@pytest.mark.parametrize("size", [0, -1, math.nan, math.inf])
def test_an_image_without_extent_is_refused(size: float) -> None:
    with pytest.raises(RecordError):
        pixel_to_bin(0, size, SPEC_ALPHABET)


@pytest.mark.parametrize("k", [-1, 1000, 10**400])
def test_a_bin_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(RecordError, match=r"expected a bin 0\.\.999"):
        checked_bin(k, SPEC_ALPHABET)
    with pytest.raises(RecordError, match=r"expected a bin 0\.\.999"):
        bin_to_pixel(k, 640, SPEC_ALPHABET)


@pytest.mark.parametrize("k", [12.0, True, False, "12", None, np.float32(12), np.True_, [12]])
def test_what_is_no_whole_number_is_no_bin(k: int) -> None:
    with pytest.raises(RecordError, match=r"expected a bin 0\.\.999, got"):
        checked_bin(k, SPEC_ALPHABET)
    with pytest.raises(RecordError, match=r"expected a bin 0\.\.999, got"):
        ints_to_tokens([3, k], SPEC_ALPHABET)


@pytest.mark.parametrize("k", [np.int64(12), np.uint8(12)])
def test_a_whole_number_of_numpy_is_a_bin(k: int) -> None:
    assert ints_to_tokens([k], SPEC_ALPHABET) == ("<|coord_12|>",)
    assert type(checked_bin(k, SPEC_ALPHABET)) is int


@pytest.mark.parametrize("value", [True, "12", None, [12], np.True_])
def test_what_is_no_number_is_neither_pixel_nor_bin(value: float) -> None:
    for call in (
        lambda: pixel_to_bin(value, 640, SPEC_ALPHABET),
        lambda: pixel_to_bin(0, value, SPEC_ALPHABET),
        lambda: pixels_to_bins([0, value], 640, 480, SPEC_ALPHABET),
        lambda: bin_to_pixel(value, 640, SPEC_ALPHABET),
    ):
        with pytest.raises(RecordError, match="expected a"):
            call()


def test_numbers_of_numpy_are_pixels() -> None:
    assert pixel_to_bin(np.float32(320), 640, SPEC_ALPHABET) == 500
    assert pixels_to_bins(np.array([320.0, 240.0]), 640, 480, SPEC_ALPHABET) == (500, 500)
    assert bin_to_pixel(np.float32(999), 640, SPEC_ALPHABET) == 640


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<|coord_*|>",
        "<|coord_1000|>",
        "<|coord_-1|>",
        "<|coord_01|>",
        "<|coord_1|> ",
        "<|coord_\u0661|>",
        "<loc0001>",
        "12",
    ],
)
def test_what_is_no_coord_token_is_refused(text: str) -> None:
    assert not is_coord_token(text, SPEC_ALPHABET)
    with pytest.raises(RecordError, match=r"expected a coord token <\|coord_0\|>"):
        token_to_int(text, SPEC_ALPHABET)


def test_a_token_is_found_anywhere_in_a_text() -> None:
    assert contains_coord_token("x<|coord_17|>y", SPEC_ALPHABET)
    assert contains_coord_token("any <|coord_*|>", SPEC_ALPHABET)
    assert not contains_coord_token("<|coord_1000|> coord_1 <|im_end|>", SPEC_ALPHABET)
    assert contains_coord_token("<loc0007>", LOC)
    assert not contains_coord_token("<loc7>", LOC)


@pytest.mark.parametrize("pattern", ["", "coord", "{a}", "{}{}", "{", "{:.1s}", '"{}"', "\n{}"])
def test_a_pattern_that_cannot_spell_the_bins_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        CoordAlphabet(pattern=pattern)


def test_an_axis_needs_both_its_borders() -> None:
    with pytest.raises(ValueError, match="at least 2 bins"):
        CoordAlphabet(bins=1)


@given(st.lists(st.tuples(st.floats(0, 640), st.floats(0, 480))))
def test_many_pixels_become_the_bins_of_each(points: list[tuple[float, float]]) -> None:
    flat = [value for point in points for value in point]
    each = [
        pixel_to_bin(value, (640, 480)[axis % 2], SPEC_ALPHABET) for axis, value in enumerate(flat)
    ]
    assert list(pixels_to_bins(flat, 640, 480, SPEC_ALPHABET)) == each


@pytest.mark.parametrize("values", [(641, 0), (0, 481), (float("nan"), 0), (-1, 0)])
def test_many_pixels_must_all_lie_inside(values: tuple[float, float]) -> None:
    with pytest.raises(RecordError, match="expected a coordinate in 0"):
        pixels_to_bins(values, 640, 480, SPEC_ALPHABET)
