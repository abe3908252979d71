import json
from dataclasses import dataclass
from typing import SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from coordexp.answers.parse import ParsedAnswer, parse_prediction
from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import RecordObject
from coordexp.errors import RecordError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rendering.dense_json import SEPARATORS, JsonFormat, parse_answer, render_answer

LOC = CoordAlphabet(pattern="<loc{:04d}>", bins=1024, wildcard=None)
BOX = '"bbox_2d": [1, 2, 3, 4]'
GOOD = '"object_2": {"desc": "b", "line": [5, 6, 7, 8]}'


def parse(text: str, *, coord_tokens: bool = False) -> ParsedAnswer:
    return parse_prediction(
        text, alphabet=SPEC_ALPHABET, coord_tokens=coord_tokens, end_marks=QWEN3_VL.end_marks
    )


def summary(answer: ParsedAnswer) -> tuple[str, list[str], list[tuple[str, str]]]:
    dropped: list[tuple[str, str]] = [(drop.reason, drop.text) for drop in answer.dropped]
    return answer.status, [item.desc for item in answer.objects], dropped


def test_a_valid_answer_comes_with_the_place_of_every_part() -> None:
    text = (
        '{"object_1": {"desc": "a \\"ä\\"", "bbox_2d": '
        '["<|coord_0|>", "<|coord_10|>", "<|coord_999|>", "<|coord_10|>"]}}<|im_end|>\n'
    )
    answer = parse(text, coord_tokens=True)
    (item,) = answer.objects
    assert (answer.status, answer.dropped) == ("ok", ())
    assert (item.desc, item.geometry) == ('a "ä"', Geometry("bbox_2d", (0, 10, 999, 10), "bin"))
    assert text[slice(*item.span)] == text[1 : text.rindex("}")]
    assert text[slice(*item.desc_span)] == 'a \\"ä\\"'
    assert [text[slice(*span)] for span in item.coord_spans] == [
        "<|coord_0|>",
        "<|coord_10|>",
        "<|coord_999|>",
        "<|coord_10|>",
    ]


@pytest.mark.parametrize(
    "end", ["", "<|im_end|>", "<|im_end|>\n", "<|endoftext|>", "<|im_end|>\n<|endoftext|>"]
)
def test_an_end_mark_is_not_looked_at(end: str) -> None:
    assert parse("{}" + end) == ParsedAnswer((), "ok", ())
    assert summary(parse("{" + GOOD.replace("2", "1", 1) + "}" + end)) == ("ok", ["b"], [])


@pytest.mark.parametrize(
    ("text", "status", "descs", "dropped"),
    [
        ("", "failed", [], []),
        ("{", "failed", [], []),
        ("{ }", "salvaged", [], []),
        ("{} bye", "salvaged", [], [("text after the answer", "bye")]),
        ("I see no cat.", "failed", [], [("no object", "I see no cat.")]),
        ('[{"bbox_2d": [1]}]', "failed", [], [("no object", '[{"bbox_2d": [1]}]')]),
        ('{"obje', "failed", [], [("cut off", '"obje')]),
        ('{"object_1": ', "failed", [], [("cut off", '"object_1":')]),
        ("{" + GOOD + "}", "salvaged", ["b"], []),
        ("{" + GOOD + "} ", "salvaged", ["b"], []),
        (GOOD, "salvaged", ["b"], []),
        ("{" + GOOD + GOOD + "}", "salvaged", ["b", "b"], []),
        ("{" + GOOD + ", ", "salvaged", ["b"], []),
        ("{" + GOOD + ', "object', "salvaged", ["b"], [("cut off", '"object')]),
        ("{" + GOOD + "}}", "salvaged", ["b"], [("text after the answer", "}")]),
        (
            "Sure: {" + GOOD + ", and " + GOOD + "} Done.",
            "salvaged",
            ["b", "b"],
            [
                ("text before the answer", "Sure:"),
                ("text between objects", "and"),
                ("text after the answer", "Done."),
            ],
        ),
    ],
)
def test_what_surrounds_the_objects_is_told_apart(
    text: str, status: str, descs: list[str], dropped: list[tuple[str, str]]
) -> None:
    assert summary(parse(text)) == (status, descs, dropped)


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ('"desc": "a", "bbox_2d": [3, 2, 1, 4]', "corners in the wrong order"),
        ('"desc": "a", "bbox_2d": [1, 4, 3, 2]', "corners in the wrong order"),
        ('"desc": "a", "bbox_2d": [1, 2, 3]', "wrong number of coordinates"),
        ('"desc": "a", "bbox_2d": []', "wrong number of coordinates"),
        ('"desc": "a", "poly": [1, 2, 3, 4]', "wrong number of coordinates"),
        ('"desc": "a", "line": [1, 2, 3, 4, 5]', "wrong number of coordinates"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, 1000]', "out of range"),
        ('"desc": "a", "bbox_2d": [-1, 2, 3, 4]', "out of range"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, ' + "9" * 5000 + "]", "out of range"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, 4.0]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, 04]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, -0]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, 4e0]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, null]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, ""]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": ["<|coord_1|>", 2, 3, 4]', "not a coordinate"),
        ('"desc": "a", "bbox_2d": [[1, 2], [3, 4]]', "malformed"),
        ('"desc": "a", "bbox_2d": [1, 2, 3, 4,]', "malformed"),
        ('"desc": "a", "bbox_2d": [1 2 3 4]', "malformed"),
        ('"desc": "a", "bbox_2d": 5', "malformed"),
        ('"desc": 5, ' + BOX, "malformed"),
        ('"desc": "a\n", ' + BOX, "malformed"),
        ('"desc": "a" ' + BOX, "malformed"),
        ('"desc": "a, ' + BOX, "malformed"),
        ('"desc" "a", ' + BOX, "malformed"),
        ('"desc": "a", ' + BOX + ",", "malformed"),
        ('"desc": "a", "label": 1, ' + BOX, "unknown key"),
        ('"desc": "a", "box": [1, 2, 3, 4]', "unknown key"),
        ('"desc": "a", ' + BOX + ', "line": [1, 2, 3, 4]', "two geometries"),
        ('"desc": "a", ' + BOX + ", " + BOX, "key given twice"),
        ('"desc": "a", "desc": "a", ' + BOX, "key given twice"),
        ('"desc": "a"', "no geometry"),
        (BOX, "no desc"),
        ("", "no desc"),
        ('"desc": "", ' + BOX, "empty desc"),
        ('"desc": " \\n", ' + BOX, "empty desc"),
        ('"desc": "\\x", ' + BOX, "unreadable desc"),
        ('"desc": "\\ud800", ' + BOX, "unreadable desc"),
        ('"desc": "a <|coord_5|>", ' + BOX, "coord token in desc"),
    ],
)
def test_a_bad_object_is_dropped_with_its_reason_and_the_next_one_kept(
    inside: str, reason: str
) -> None:
    bad = '"object_1": {' + inside + "}"
    answer = parse("{" + bad + ", " + GOOD + "}")
    assert summary(answer) == ("salvaged", ["b"], [(reason, bad)])
    alone = parse("{" + bad + "}")
    assert alone.status == "failed"
    assert [drop.reason for drop in alone.dropped] in ([reason], [reason, "text after the answer"])


@pytest.mark.parametrize(
    "broken",
    [
        '"object_1": {',
        '"object_1": {"desc": "a}',
        '"object_1": {"desc": "a", "bbox_2d": [1, "2, 3',
        '"object_1": {"desc": "a", "bbox_2d": [1, 2',
        '"object_1": {"desc": "a", ' + BOX,
        '"object_1": {"desc": "a", "bbox_2d":',
        '"object_1": {"desc":',
        '"object_1": {"desc": "a"',
    ],
)
def test_an_unfinished_object_does_not_swallow_the_next(broken: str) -> None:
    status, descs, dropped = summary(parse("{" + broken + ", " + GOOD + "}"))
    assert (status, descs) == ("salvaged", ["b"])
    assert [text for _, text in dropped] == [broken]


def test_coord_tokens_are_read_without_their_quotes() -> None:
    bare = "[<|coord_1|>,<|coord_2|> , <|coord_3|>, <|coord_4|>]"
    text = '{"object_1": {"desc": "a", "bbox_2d": ' + bare + "}}"
    answer = parse(text, coord_tokens=True)
    assert answer.status == "salvaged"
    assert answer.objects[0].geometry.values == (1, 2, 3, 4)
    assert [text[slice(*span)] for span in answer.objects[0].coord_spans] == [
        f"<|coord_{k}|>" for k in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("value", ["<|coord_1000|>", "<|coord_*|>", "<|coord_1|><|coord_2|>", "7"])
def test_only_coord_tokens_are_coordinates_of_the_token_form(value: str) -> None:
    text = '{"object_1": {"desc": "a", "line": ["' + value + '"]}}'
    assert [drop.reason for drop in parse(text, coord_tokens=True).dropped] == ["not a coordinate"]


def test_fields_may_come_in_another_order() -> None:
    status, descs, dropped = summary(parse('{"object_7":{' + BOX + ' ,"desc":"a"}}'))
    assert (status, descs, dropped) == ("salvaged", ["a"], [])


descs = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9).filter(str.strip)
formats = st.sampled_from([*SEPARATORS])


@st.composite
def objects_of(draw: st.DrawFn, bins: int) -> RecordObject:
    bin_values = st.integers(0, bins - 1)
    x1, x2 = sorted(draw(st.tuples(bin_values, bin_values)))
    y1, y2 = sorted(draw(st.tuples(bin_values, bin_values)))
    box = Geometry("bbox_2d", (x1, y1, x2, y2), "bin")
    line = Geometry("line", (x2, y1, x1, y2), "bin")
    return RecordObject(draw(descs), draw(st.sampled_from([box, line])))


@dataclass(frozen=True)
class Answer:
    """Rendered in the test and not while drawn: the type checker of the tests uses `random`."""

    objects: list[RecordObject]
    alphabet: CoordAlphabet
    json_format: JsonFormat
    coord_tokens: bool

    def render(self) -> str:
        return render_answer(
            self.objects,
            1,
            1,
            alphabet=self.alphabet,
            json_format=self.json_format,
            coord_tokens=self.coord_tokens,
        )

    def parse(self, text: str) -> ParsedAnswer:
        return parse_prediction(
            text,
            alphabet=self.alphabet,
            coord_tokens=self.coord_tokens,
            end_marks=QWEN3_VL.end_marks,
        )


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    alphabet = draw(st.sampled_from([SPEC_ALPHABET, LOC]))
    objects = draw(st.lists(objects_of(alphabet.bins), max_size=4))
    return Answer(objects, alphabet, draw(formats), draw(st.booleans()))


@given(answers())
def test_what_is_rendered_is_ok(case: Answer) -> None:
    text = case.render()
    answer = case.parse(text)
    assert (answer.status, answer.dropped) == ("ok", ())
    assert [RecordObject(item.desc, item.geometry) for item in answer.objects] == case.objects
    for item in answer.objects:
        assert json.loads('"' + text[slice(*item.desc_span)] + '"') == item.desc
        assert len(item.coord_spans) == len(item.geometry.values)


@settings(max_examples=40)
@given(answers())
def test_a_cut_anywhere_keeps_exactly_the_complete_objects(case: Answer) -> None:
    text = case.render()
    whole = case.parse(text).objects
    for cut in range(len(text)):
        answer = case.parse(text[:cut])
        assert answer.objects == tuple(item for item in whole if item.span[1] <= cut)
        assert answer.status == ("salvaged" if answer.objects else "failed")
        assert {drop.reason for drop in answer.dropped} <= {"cut off"}


pieces = st.sampled_from(
    [
        *('{"object_1": {', '"object_2": {', '"object_', '"desc": "', '"desc": "a", ', BOX),
        *('"bbox_2d": [', "1", "<|coord_7|>", ", ", "]", "}", '"', "\\", " ", "{", ":", "\n", "é"),
        "<|im_end|>",
    ]
)
arbitrary = st.one_of(st.text(), st.lists(pieces).map("".join), st.text('{"[]},:\\ 10object_'))


def check_everything_holds(text: str, *, coord_tokens: bool) -> None:
    answer = parse(text, coord_tokens=coord_tokens)
    last = 0
    for item in answer.objects:
        start, end = item.span
        assert last <= start < end <= len(text)
        last = end
        assert item.desc.strip()
        assert all(0 <= value <= 999 for value in item.geometry.values)
        assert start < item.desc_span[0] <= item.desc_span[1] < end
    assert all(drop.text and drop.text in text for drop in answer.dropped)
    assert sum(len(drop.text) for drop in answer.dropped) <= len(text)
    if answer.status != "salvaged":
        assert not (answer.dropped if answer.status == "ok" else answer.objects)
    pairs = [(item.desc, item.geometry) for item in answer.objects]
    try:
        expected = parse_answer(text, alphabet=SPEC_ALPHABET, coord_tokens=coord_tokens)
    except RecordError:
        assert answer.status != "ok" or text.rstrip().endswith(("<|im_end|>", "<|endoftext|>"))
    else:
        assert (answer.status, pairs) == ("ok", expected)


@given(arbitrary, st.booleans())
def test_any_text_has_a_result(text: str, coord_tokens: bool) -> None:
    check_everything_holds(text, coord_tokens=coord_tokens)


@given(answers(), st.data())
def test_any_damage_to_an_answer_has_a_result(case: Answer, data: st.DataObject) -> None:
    text = case.render()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 9)))
        text = text[:start] + data.draw(st.one_of(pieces, st.text(max_size=3))) + text[stop:]
    check_everything_holds(text, coord_tokens=case.coord_tokens)


class CountedText(str):
    """A text that counts how many of its characters are looked at."""

    __slots__ = ("looks",)
    looks: int

    @override
    def __getitem__(self, key: SupportsIndex | slice, /) -> str:
        piece = super().__getitem__(key)
        self.looks += len(piece)
        return piece

    @override
    def find(
        self, sub: str, start: SupportsIndex | None = None, end: SupportsIndex | None = None, /
    ) -> int:
        found = super().find(sub, start, end)
        self.looks += (len(self) if found < 0 else found) - int(start or 0)
        return found


@pytest.mark.parametrize(
    "piece",
    [
        '"',
        "\\",
        "{",
        " ",
        '"object_',
        '"object_1',
        '"object_1": {',
        '"object_1": {"',
        '"object_1": {"desc": "',
        '"object_1": {"desc": "\\',
        '"object_1": {"desc": "a", "bbox_2d": [',
        '"object_1": {"desc": "a", "bbox_2d": ["',
        '\\"object_1": {"desc": "',
        '\\"object_1\\": {\\"desc\\": \\"',
        '"object_1": {"\\',
        '"desc": "a", ',
        "1, ",
        "<|im_end|>",
        '"object_1": {"desc": "a", "bbox_2d": [1, 2, 3, 4]}, ',
    ],
)
@pytest.mark.parametrize(
    "head", ["", '{"object_1": {', '{"object_1": {"desc": "', '"object_1": {"a": [']
)
def test_the_number_of_characters_looked_at_is_linear(head: str, piece: str) -> None:
    for count in (50, 400):
        text = CountedText(head + piece * count)
        text.looks = 0
        parse(text)
        assert text.looks <= 10 * len(text) + 100


def test_the_end_marks_of_another_family_are_text() -> None:
    answer = parse_prediction(
        "{}<|im_end|>", alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=("</s>",)
    )
    assert summary(answer) == ("salvaged", [], [("text after the answer", "<|im_end|>")])
    own = parse_prediction("{}</s>", alphabet=LOC, coord_tokens=True, end_marks=("</s>",))
    assert (own.status, own.dropped) == ("ok", ())
