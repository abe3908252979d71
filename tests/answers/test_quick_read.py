from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers import parse as parse_module
from coordexp.answers.parse import ParsedAnswer, parse_prediction
from coordexp.answers.quick_read import quick_objects
from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.geometry import Geometry, GeometryKind
from coordexp.data.contract.record import RecordObject
from coordexp.rendering.dense_json import JsonFormat, render_answer

BRACKETS = CoordAlphabet(pattern="[{}]", bins=20, wildcard=None)
SMALL = CoordAlphabet(pattern="<{}>", bins=20, wildcard=None)
PIECES = (
    '"',
    "\\",
    "}",
    "{",
    "]",
    ", ",
    ",",
    " ",
    "<7>",
    "7",
    "-1",
    "007",
    "object_2",
    "\x01",
    "٣",
)
DESCS = st.text(min_size=1, max_size=6).filter(lambda desc: desc.strip() != "")
KINDS: dict[GeometryKind, int] = {"bbox_2d": 4, "poly": 6, "line": 4}


Scene = tuple[list[RecordObject], JsonFormat]
Cut = tuple[float, int, str]
# A place as a share of the text, how much is taken away, and what comes instead.
CUTS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(PIECES)), max_size=2)


@st.composite
def scenes(draw: st.DrawFn, bins: int) -> Scene:
    objects = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        values = [draw(st.integers(0, bins - 1)) for _ in range(KINDS[kind])]
        if kind == "bbox_2d" and draw(st.booleans()):
            values = [*map(min, values[:2], values[2:]), *map(max, values[:2], values[2:])]
        desc = draw(DESCS | st.sampled_from(["cat", "<3>", 'a "b"']))
        objects.append(RecordObject(desc, Geometry(kind, tuple(values), "bin")))
    return objects, draw(st.sampled_from(["standard", "compact"]))


def damaged(text: str, cuts: list[Cut]) -> str:
    for where, taken, piece in cuts:
        start = int(where * len(text))
        text = text[:start] + piece + text[start + taken :]
    return text


def read(text: str, alphabet: CoordAlphabet, *, coord_tokens: bool) -> ParsedAnswer:
    return parse_prediction(
        text, alphabet=alphabet, coord_tokens=coord_tokens, end_marks=("<end>",)
    )


@pytest.mark.parametrize("coord_tokens", [True, False])
@pytest.mark.parametrize("alphabet", [SMALL, BRACKETS, SPEC_ALPHABET], ids=str)
def test_a_quick_read_and_a_close_one_agree(alphabet: CoordAlphabet, coord_tokens: bool) -> None:
    @given(scenes(alphabet.bins), CUTS)
    def agree(scene: Scene, cuts: list[Cut]) -> None:
        # Rendered here and not in the strategy: the checker of shapes draws random numbers.
        objects, json_format = scene
        whole = render_answer(
            objects, 1, 1, alphabet=alphabet, json_format=json_format, coord_tokens=coord_tokens
        )
        text = damaged(whole, cuts)
        quick = read(text, alphabet, coord_tokens=coord_tokens)
        with patch.object(parse_module, "quick_objects", lambda *_, **__: None):
            close = read(text, alphabet, coord_tokens=coord_tokens)
        assert quick == close

    agree()


def test_plain_answers_are_known_at_sight() -> None:
    scene = [RecordObject("a cat", Geometry("bbox_2d", (1, 2, 3, 4), "bin"))] * 12
    formats: tuple[JsonFormat, ...] = ("standard", "compact")
    for json_format in formats:
        for coord_tokens in (True, False):
            text = render_answer(
                scene,
                1,
                1,
                alphabet=SPEC_ALPHABET,
                json_format=json_format,
                coord_tokens=coord_tokens,
            )
            found = quick_objects(text, SPEC_ALPHABET, coord_tokens=coord_tokens)
            assert found is not None
            assert len(found) == 12


def test_a_key_that_is_out_of_turn_is_left_to_the_close_read() -> None:
    text = '{"object_2": {"desc": "a", "bbox_2d": [1, 2, 3, 4]}}'
    assert quick_objects(text, SPEC_ALPHABET, coord_tokens=False) is None
    assert read(text, SPEC_ALPHABET, coord_tokens=False).status == "salvaged"
