"""A line is decoded by a fast reader, and comes out as the json module has it."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordexp.data.contract.json_line import decode_closely, parse_json_line
from coordexp.errors import RecordError


def looked_at_closely(line: bytes) -> object:
    """Return what the json module makes of a line: its value, or the first fault."""
    value, faults = decode_closely(line)
    return repr(value) if not faults else faults[0].message


def parsed(line: bytes) -> object:
    """Return what reading makes of a line, in the same terms."""
    try:
        return repr(parse_json_line(line))
    except RecordError as error:
        return error.message


NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(2**63 - 2, 2**64 + 2).map(str),
    st.integers(-(2**64), -(2**63) + 2).map(str),
    st.floats().map(json.dumps),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "1e400", "-1e400", "1e-400", "01", "1.", ".5", "+1", "5e-324"]),
)
TEXTS = st.one_of(
    st.text().map(json.dumps),
    st.text().map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        [r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\u003a"', '"a:b"', '"\t"', r'"\x"']
    ),
)
LEAVES = st.one_of(NUMBERS, TEXTS, st.sampled_from(["null", "true", "false", "NaN", "Infinity"]))
KEYS = st.sampled_from(['"objects"', '"desc"', '"a"', r'"\u0061"', '"x:y"'])


def rows_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return objects, in which a key may stand twice."""
    pairs = st.lists(st.tuples(KEYS, values).map(": ".join), max_size=4)
    return pairs.map(lambda texts: f"{{{', '.join(texts)}}}")


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda texts: f"[{', '.join(texts)}]"), rows_of(inner)
    ),
    max_leaves=12,
)
ENDS = st.sampled_from(["", "", "", "\n", "\r\n", " ", "x", "{}", "\0", "\f"])


@given(row=rows_of(VALUES), end=ENDS)
def test_a_line_is_read_as_the_json_module_reads_it(row: str, end: str) -> None:
    line = (row + end).encode()

    assert parsed(line) == looked_at_closely(line)


@given(
    row=rows_of(VALUES).map(str.encode),
    place=st.integers(0, 200),
    put=st.binary(min_size=1, max_size=3),
)
@example(row=b"{}", place=0, put=b"\xef\xbb\xbf")
@example(row=b'{"a": ""}', place=7, put=b"\xed\xa0\x80")
@example(row=b'{"a": ""}', place=7, put=b"\x00")
def test_a_damaged_line_is_read_as_the_json_module_reads_it(
    row: bytes, place: int, put: bytes
) -> None:
    line = row[:place] + put + row[place:]

    assert parsed(line) == looked_at_closely(line)


@given(row=rows_of(VALUES).map(str.encode), share=st.floats(0, 1))
def test_a_line_cut_short_is_read_as_the_json_module_reads_it(row: bytes, share: float) -> None:
    line = row[: int(share * len(row))]

    assert parsed(line) == looked_at_closely(line)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_double(number: float) -> None:
    row = parse_json_line(f'{{"a": {number!r}}}'.encode())

    assert isinstance(row, dict)
    assert row["a"] == number
    assert math.copysign(1, row["a"]) == math.copysign(1, number)


@pytest.mark.parametrize("digits", [19, 20, 309, 4_300])
def test_an_integer_keeps_all_its_digits(digits: int) -> None:
    text = "9" * digits

    assert parse_json_line(f'{{"a": {text}}}'.encode()) == {"a": int(text)}


@pytest.mark.parametrize("line", [b'{"a": ' + b"9" * 4_301 + b"}", b"[" * 100_000 + b"]" * 100_000])
def test_what_cannot_be_held_is_refused(line: bytes) -> None:
    with pytest.raises(RecordError, match=r"not a record|not JSON that can be read"):
        parse_json_line(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1, "a": 1}',
        b'{"objects": [], "objects": []}',
        b'{"objects": [{"desc": "x", "desc": "x"}]}',
        b'{"metadata": {"b": [{"a": 1, "a": 1}]}}',
        rb'{"a": 1, "\u0061": 1}',
    ],
)
def test_a_doubled_key_is_found_at_any_depth(line: bytes) -> None:
    with pytest.raises(RecordError, match="stands twice in one object"):
        parse_json_line(line)
