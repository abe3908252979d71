import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import RecordObject
from coordexp.errors import RecordError
from coordexp.rendering.dense_json import SEPARATORS, JsonFormat, parse_answer, render_answer

LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
CAT = RecordObject("cat", Geometry("bbox_2d", (12, 34, 56, 78), "bin"))
LEASH = RecordObject('a "ä"\n', Geometry("line", (0, 0, 999, 999), "bin"))


def render(
    *objects: RecordObject, json_format: JsonFormat = "standard", coord_tokens: bool = True
) -> str:
    return render_answer(
        objects,
        640,
        480,
        alphabet=SPEC_ALPHABET,
        json_format=json_format,
        coord_tokens=coord_tokens,
    )


def test_golden_answers() -> None:
    assert render(CAT) == (
        '{"object_1": {"desc": "cat", "bbox_2d": '
        '["<|coord_12|>", "<|coord_34|>", "<|coord_56|>", "<|coord_78|>"]}}'
    )
    assert render(CAT, LEASH, json_format="compact", coord_tokens=False) == (
        '{"object_1":{"desc":"cat","bbox_2d":[12,34,56,78]},'
        '"object_2":{"desc":"a \\"ä\\"\\n","line":[0,0,999,999]}}'
    )
    assert render() == render(json_format="compact") == "{}"


def test_pixels_become_bins_of_their_axis() -> None:
    box = RecordObject("x", Geometry("bbox_2d", (0, 0, 320, 480), "px"))
    # 320 / 640 * 999 = 499.5, half up
    assert '"bbox_2d": [0, 0, 500, 999]' in render(box, coord_tokens=False)


def test_a_pixel_outside_the_image_names_its_object() -> None:
    wide = RecordObject("x", Geometry("bbox_2d", (0, 0, 641, 480), "px"))
    with pytest.raises(RecordError, match=r"^objects\[1\]: expected a coordinate in 0\.\.640"):
        render(CAT, wide)


def test_a_bin_outside_the_alphabet_names_its_object() -> None:
    far = RecordObject("x", Geometry("line", (0, 0, 0, 1000), "bin"))
    with pytest.raises(RecordError, match=r"^objects\[0\]: expected a bin 0\.\.999"):
        render(far, coord_tokens=False)


descs = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@st.composite
def geometries(draw: st.DrawFn, bins: int) -> Geometry:
    bin_values = st.integers(0, bins - 1)
    kind = draw(st.sampled_from(["bbox_2d", "poly", "line"]))
    if kind == "bbox_2d":
        x1, x2 = sorted(draw(st.tuples(bin_values, bin_values)))
        y1, y2 = sorted(draw(st.tuples(bin_values, bin_values)))
        return Geometry("bbox_2d", (x1, y1, x2, y2), "bin")
    points = draw(st.lists(st.tuples(bin_values, bin_values), min_size=3, max_size=5))
    return Geometry(kind, tuple(value for point in points for value in point), "bin")


@given(
    st.sampled_from([SPEC_ALPHABET, LOC]), st.sampled_from([*SEPARATORS]), st.booleans(), st.data()
)
def test_what_is_rendered_is_parsed_back(
    alphabet: CoordAlphabet, json_format: JsonFormat, coord_tokens: bool, data: st.DataObject
) -> None:
    pairs = data.draw(st.lists(st.tuples(descs, geometries(alphabet.bins)), max_size=5))
    objects = [RecordObject(desc, geometry) for desc, geometry in pairs]
    text = render_answer(
        objects, 9, 9, alphabet=alphabet, json_format=json_format, coord_tokens=coord_tokens
    )
    assert parse_answer(text, alphabet=alphabet, coord_tokens=coord_tokens) == pairs
    values = [*json.loads(text).values()]
    assert [value["desc"] for value in values] == [item.desc for item in objects]


BOX = '"bbox_2d": [1, 2, 3, 4]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a rendered answer: "),
        ("[]", "expected one JSON object"),
        ("{} ", "spaces or escapes differ"),
        ('{"object_1": {"desc": "a", ' + BOX + "}", "not a rendered answer: "),
        ('{"object_2": {"desc": "a", ' + BOX + "}}", "objects[0]: expected the key 'object_1'"),
        ('{"object_1":{"desc": "a", ' + BOX + "}}", "spaces or escapes differ"),
        ('{"object_1": {"desc": "\\u00e4", ' + BOX + "}}", "spaces or escapes differ"),
        ('{"object_1": {' + BOX + ', "desc": "a"}}', "objects[0]: expected a desc"),
        ('{"object_1": {"desc": "", ' + BOX + "}}", "objects[0]: expected a desc"),
        ('{"object_1": {"desc": "a", ' + BOX + ", " + BOX + "}}", "objects[0]: expected a desc"),
        ('{"object_1": {"desc": "a", "box": [1, 2, 3, 4]}}', "objects[0]: expected a desc"),
        ('{"object_1": {"desc": "a", "bbox_2d": [1, 2, 3]}}', "objects[0]: bbox_2d: expected 4"),
        ('{"object_1": {"desc": "a", "bbox_2d": [1, 2, 3, true]}}', "expected plain integers"),
        ('{"object_1": {"desc": "a", "bbox_2d": [1, 2, 3, 4.0]}}', "expected plain integers"),
        ('{"object_1": {"desc": "a", "bbox_2d": [1, 2, 3, 1000]}}', "expected a bin 0..999"),
        ('{"object_1": {"desc": "a", "bbox_2d": [3, 2, 1, 4]}}', "expected x1 <= x2"),
        ('{"object_1": {"desc": "<|coord_1|>", ' + BOX + "}}", "coord tokens belong into"),
        ('[["object_1", [["desc", "a"], ["line", [1, 2, 3, 4]]]]]', "expected one JSON object"),
        ("[" * 100_000, "not a rendered answer: "),
        ("1" * 5000, "not a rendered answer: "),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_answer(text, alphabet=SPEC_ALPHABET, coord_tokens=False)
    assert message in str(caught.value)


def test_tokens_and_integers_are_not_mistaken_for_each_other() -> None:
    with pytest.raises(RecordError, match="expected coord tokens, got numbers"):
        parse_answer(
            '{"object_1": {"desc": "a", "line": [0, 0, 1, 1]}}',
            alphabet=SPEC_ALPHABET,
            coord_tokens=True,
        )
    with pytest.raises(RecordError, match="expected plain integers"):
        parse_answer(render(CAT), alphabet=SPEC_ALPHABET, coord_tokens=False)
