"""Each kind goes the whole way from its row of the table: what holds for all is asked of all."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers.parse import parse_prediction
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.geometry import Geometry, geometry_faults, parse_geometry
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.data.contract.quick_look import quick_look
from coordexp.data.contract.record import RecordObject
from coordexp.errors import RecordError
from coordexp.rendering.dense_json import parse_answer, render_answer

SIZE = (640, 480)
kinds = pytest.mark.parametrize("kind", GEOMETRY_KINDS)


def test_every_kind_has_its_row() -> None:
    assert tuple(KINDS) == GEOMETRY_KINDS


@st.composite
def geometries(draw: st.DrawFn, kind: GeometryKind) -> list[int]:
    """Good pixels of a kind, its own number of them."""
    rules = KINDS[kind]
    count = draw(st.integers(rules.least_points, rules.most_points or rules.least_points + 3))
    values = [draw(st.integers(0, SIZE[axis] - 1)) for _ in range(count) for axis in (0, 1)]
    if rules.form == "corners":
        xs, ys = sorted(values[0::2]), sorted(values[1::2])
        return [xs[0], ys[0], xs[1] + 1, ys[1] + 1]
    return values


@kinds
@given(data=st.data())
def test_what_is_rendered_is_read_again(kind: GeometryKind, data: st.DataObject) -> None:
    pixels = data.draw(geometries(kind))
    item = RecordObject("a cat", parse_geometry(kind, pixels, *SIZE, SPEC_ALPHABET))
    bins = Geometry(kind, item.geometry.to_bins(*SIZE, SPEC_ALPHABET), "bin")
    for coord_tokens in (True, False):
        text = render_answer(
            [item],
            *SIZE,
            alphabet=SPEC_ALPHABET,
            json_format="standard",
            coord_tokens=coord_tokens,
        )
        assert parse_answer(text, alphabet=SPEC_ALPHABET, coord_tokens=coord_tokens) == [
            ("a cat", bins)
        ]
        read = parse_prediction(
            text, alphabet=SPEC_ALPHABET, coord_tokens=coord_tokens, end_marks=()
        )
        assert (read.status, read.objects[0].geometry) == ("ok", bins)


@kinds
@given(count=st.integers(0, 9))
def test_all_readers_agree_about_the_number_of_values(kind: GeometryKind, count: int) -> None:
    whole = KINDS[kind].is_whole(count)
    tokens = [SPEC_ALPHABET.token(k) for k in range(count)]
    row = {"desc": "a", kind: tokens}
    assert any(geometry_faults(kind, tokens, *SIZE, SPEC_ALPHABET)) != whole
    assert (quick_look(SPEC_ALPHABET).good_object(row, *SIZE) is not None) == whole
    text = json.dumps({"object_1": row})
    read = parse_prediction(text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=())
    assert bool(read.objects) == whole


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "point_2d: expected 2 values x, y, got 0"),
        ([5], "point_2d: expected 2 values x, y, got 1"),
        ([5, 5, 9, 9], "point_2d: expected 2 values x, y, got 4"),
        ([[5, 5]], "point_2d: expected numbers in a flat list, got [5, 5]"),
        ([5, 480.5], "point_2d: y = 480.5 lies outside the image, 0..480 pixels"),
        ([-1, 5], "point_2d: x = -1 lies outside the image, 0..640 pixels"),
        (["<|coord_5|>", 7], "point_2d: pixels and coord tokens are mixed; use one or the other"),
        ("5, 5", "point_2d: expected a flat list of numbers or coord tokens, got '5, 5'"),
    ],
)
def test_what_is_no_point_is_told_in_its_words(values: object, told: str) -> None:
    with pytest.raises(RecordError, match=f"^{re.escape(told)}$"):
        parse_geometry("point_2d", values, *SIZE, SPEC_ALPHABET)


def test_a_point_may_lie_on_every_border() -> None:
    for x, y in ((0, 0), (640, 0), (0, 480), (640, 480), (0.5, 479.999)):
        found = parse_geometry("point_2d", [x, y], *SIZE, SPEC_ALPHABET)
        assert (found.kind, found.values, found.unit) == ("point_2d", (x, y), "px")
