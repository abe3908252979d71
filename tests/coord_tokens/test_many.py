"""Many pixels at once have the bins of each alone."""

from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet, pixels_to_bins
from coordexp.coord_tokens.many import many_pixels_to_bins

alphabets = st.sampled_from([SPEC_ALPHABET, CoordAlphabet(bins=2), CoordAlphabet(bins=1024)])
sizes = st.one_of(st.integers(1, 3000), st.integers(1, 1_000_000))


@given(alphabets, sizes, sizes, st.data())
def test_many_bins_are_those_of_each_pixel(
    alphabet: CoordAlphabet, width: int, height: int, data: st.DataObject
) -> None:
    def pixels(size: int) -> st.SearchStrategy[float]:
        last = alphabet.bins - 1
        halfway = st.integers(0, last - 1).map(lambda k: (k + 0.5) * size / last)
        return st.one_of(st.integers(0, size), st.floats(0, size), halfway)

    pairs = data.draw(st.lists(st.tuples(pixels(width), pixels(height)), max_size=9))
    values = [value for pair in pairs for value in pair]
    found = many_pixels_to_bins(values, [width, height] * len(pairs), alphabet)
    assert tuple(found) == pixels_to_bins(values, width, height, alphabet)
    assert all(type(k) is int for k in found)
