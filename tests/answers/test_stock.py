"""What stock models write, read in their families' own words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers.answer import Answer
from coordexp.answers.box_scores import AnswerTokens, score_parts
from coordexp.answers.parse import ParsedAnswer
from coordexp.answers.stock import parse_stock_answer
from coordexp.families.boxes import StockAnswers
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.qwen3_vl.family import QWEN3_VL

GRID = PictureGrid(28, least=28**2, most=10**6, largest_ratio=200)
PER_MILLE = StockAnswers(QWEN3_VL.boxes, GRID)
PIXELS = StockAnswers(QWEN2_5_VL.boxes, GRID)
SIZE = (560, 280)  # a multiple of the cell: the model sees it as it is
CAT = '{"bbox_2d": [100, 200, 500, 1000], "label": "a cat"}'
DOG = '{"bbox_2d": [0, 0, 10, 20], "label": "dog"}'


def read(text: str, answers: StockAnswers = PER_MILLE) -> ParsedAnswer:
    return parse_stock_answer(text, answers, size=SIZE, stored=SIZE, end_marks=QWEN3_VL.end_marks)


def descs(parsed: ParsedAnswer) -> list[str]:
    return [item.desc for item in parsed.objects]


def reasons(parsed: ParsedAnswer) -> list[tuple[str, str]]:
    return [(drop.reason, drop.text) for drop in parsed.dropped]


@pytest.mark.parametrize(
    "text",
    [
        f"[{CAT}]",
        f"```json\n[\n\t{CAT}\n]\n```",
        f"```\n[{CAT}]```",
        f"```json\n[{CAT}]",
        f" [{CAT}]<|im_end|>\n<|endoftext|>",
        f"```json\n[{CAT}]\n```<|im_end|>",
    ],
)
def test_a_list_is_read_in_fences_or_without(text: str) -> None:
    parsed = read(text)
    assert (parsed.status, reasons(parsed), descs(parsed)) == ("ok", [], ["a cat"])
    (item,) = parsed.objects
    assert (item.geometry.kind, item.geometry.unit) == ("bbox_2d", "px")
    assert item.geometry.values == (56, 56, 280, 280)


def test_spans_are_places_in_the_text() -> None:
    text = f"```json\n[{DOG},\n{CAT}]\n```"
    first, second = read(text).objects
    assert [text[slice(*item.span)] for item in (first, second)] == [DOG, CAT]
    assert text[slice(*second.desc_span)] == "a cat"
    assert [text[slice(*span)] for span in second.coord_spans] == ["100", "200", "500", "1000"]


def test_pixels_are_those_of_the_picture_that_was_seen() -> None:
    (item,) = parse_stock_answer(
        '[{"bbox_2d": [28, 56, 112, 84], "label": "x"}]',
        PIXELS,
        size=(1120, 560),
        stored=(1120, 560),
        end_marks=(),
    ).objects
    assert item.geometry.values == (28, 56, 112, 84)
    small = StockAnswers(
        QWEN2_5_VL.boxes, PictureGrid(28, least=1, most=160_000, largest_ratio=200)
    )
    (item,) = parse_stock_answer(
        '[{"bbox_2d": [28, 56, 112, 84], "label": "x"}]',
        small,
        size=(1120, 560),
        stored=(1120, 560),
        end_marks=(),
    ).objects
    assert item.geometry.values == pytest.approx((56, 112, 224, 168))  # seen at 560 x 280


@pytest.mark.parametrize("empty", ["[]", "```json\n[]\n```", "[ ]<|im_end|>"])
def test_an_empty_list_is_an_answer(empty: str) -> None:
    parsed = read(empty)
    assert (parsed.status, parsed.objects, parsed.dropped) == ("ok", (), ())


@pytest.mark.parametrize(
    ("text", "found", "dropped"),
    [
        (f"Here they are:\n[{CAT}]", ["a cat"], [("text before the answer", "Here they are:\n[")]),
        (f"[{CAT}]\nAnything else?", ["a cat"], [("text after the answer", "]\nAnything else?")]),
        (f"[{CAT}; and {DOG}]", ["a cat", "dog"], [("text between objects", "; and")]),
        (f"```json\n[{CAT}]\n```\n```json\n[{DOG}]\n```", ["a cat", "dog"], []),
        (CAT, ["a cat"], []),
        (f'{{"them": [{CAT}]}}', ["a cat"], [("text between objects", '{"them": [')]),
        ('[{"label": "b", "bbox_2d": [1, 2, 3, 4]}]', ["b"], []),
        ('[{"bbox_2d": [[1, 2], [3, 4]], "label": "b"}]', ["b"], []),
        ('[{"bbox_2d": ["1", 2, "3", 4], "label": "b"}]', ["b"], []),
        ('[{"bbox_2d": [1.5, 2, 3, 4.25], "label": "b"}]', ["b"], []),
        ('[{"bbox_2d": [1, 2, 3, 4], "sub": "c", "n": 3, "at": [1], "label": "b"}]', ["b"], []),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "b",},]', ["b"], []),
        ("I see none: []", [], [("text before the answer", "I see none:")]),
    ],
)  # fmt: skip
def test_the_frame_is_read_tolerantly(
    text: str, found: list[str], dropped: list[tuple[str, str]]
) -> None:
    parsed = read(text)
    assert (descs(parsed), reasons(parsed)) == (found, dropped)
    assert parsed.status != "failed"


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ('"bbox_2d": [1, 2, 3], "label": "b"', "wrong number of coordinates"),
        ('"bbox_2d": [5, 2, 3, 4], "label": "b"', "corners in the wrong order"),
        ('"bbox_2d": [1, 2, 3, "x"], "label": "b"', "not a coordinate"),
        ('"bbox_2d": [1, 2, 3, 1e3], "label": "b"', "not a coordinate"),
        (f'"bbox_2d": [1, 2, 3, {"9" * 5000}], "label": "b"', "not a coordinate"),
        ('"bbox_2d": [1, 2, 3, NaN], "label": "b"', "not a coordinate"),
        ('"bbox_2d": [1, 2, 3, 4]', "no desc"),
        ('"bbox_2d": [1, 2, 3, 4], "label": " "', "empty desc"),
        ('"bbox_2d": [1, 2, 3, 4], "label": "\\x"', "unreadable desc"),
        ('"bbox_2d": [1, 2, 3, 4], "label": 3', "malformed"),
        ('"bbox_2d": [1, 2, 3, 4], "label": "b" "c"', "malformed"),
        ('"bbox_2d": [1, 2, 3, 4], "bbox_2d": [1, 2, 3, 4], "label": "b"', "key given twice"),
        ('"bbox_2d": [1, 2, 3, 4], "label": "b", "label": "c"', "key given twice"),
        ('"point_2d": [1, 2, 3, 4], "label": "b"', "wrong number of coordinates"),
        ('"point_2d": [1, 2], "point_2d": [1, 2], "label": "b"', "key given twice"),
        ('"polygon": [1, 2, 3, 4, 5, 6], "label": "b"', "no geometry"),
        ("", "no geometry"),
    ],
)
def test_what_cannot_be_read_is_kept_with_a_reason(inside: str, reason: str) -> None:
    parsed = read(f"[{{{inside}}}, {CAT}]")
    assert descs(parsed) == ["a cat"]
    ((got, text),) = reasons(parsed)
    assert (got, text) == (reason, f"{{{inside}}}")
    assert parsed.status == "salvaged"


@pytest.mark.parametrize("cut", range(len(CAT)))
def test_an_answer_that_breaks_off_keeps_what_was_whole(cut: int) -> None:
    text = f"```json\n[{DOG},\n{CAT[:cut]}"
    parsed = read(text)
    assert descs(parsed) == ["dog"]
    assert reasons(parsed) == ([("cut off", CAT[:cut].strip(" ,"))] if cut else [])
    assert parsed.status == "salvaged"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("", []),
        ("There is nothing.", [("no object", "There is nothing.")]),
        ("```json\n[", [("cut off", "```json\n[")]),
        ('{"object_1": ', [("cut off", '{"object_1":')]),
    ],
)
def test_an_answer_without_any_object_has_failed(text: str, dropped: list[tuple[str, str]]) -> None:
    parsed = read(text)
    assert (parsed.status, parsed.objects, reasons(parsed)) == ("failed", (), dropped)


def test_a_point_is_read_like_a_box() -> None:
    found = read('[{"point_2d": [500, 1000], "label": "b"}, {"point_2d": [[0, 5]], "label": "c"}]')
    assert found.status == "ok"
    assert [item.geometry.kind for item in found.objects] == ["point_2d", "point_2d"]
    assert found.objects[0].geometry.values == pytest.approx((280, 280))


def test_of_a_box_and_a_point_for_one_thing_the_box_is_read() -> None:
    (item,) = read('[{"point_2d": [5, 5], "bbox_2d": [1, 2, 3, 4], "label": "b"}]').objects
    assert item.geometry.kind == "bbox_2d"


def test_a_box_that_overhangs_is_kept_as_it_is() -> None:
    (item,) = read('[{"bbox_2d": [-10, 0, 1100, 500], "label": "b"}]').objects
    assert item.geometry.values == pytest.approx((-5.6, 0, 616, 140))


labels = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)
corners = st.tuples(*[st.integers(0, 500)] * 2, *[st.integers(500, 1000)] * 2)


@given(st.lists(st.tuples(labels, corners)), st.booleans(), st.booleans())
def test_whatever_json_writes_is_read(
    objects: list[tuple[str, tuple[int, ...]]], fenced: bool, ascii_only: bool
) -> None:
    rows = [{"bbox_2d": list(box), "label": label} for label, box in objects]
    text = json.dumps(rows, ensure_ascii=ascii_only, indent="\t" if fenced else None)
    parsed = read(f"```json\n{text}\n```" if fenced else text)
    assert parsed.status == "ok"
    assert descs(parsed) == [label for label, _ in objects]


@given(st.text('{}[]",:`0123 bbox_2dlabel\\n'), st.integers(0, 300))
def test_every_text_has_a_result(noise: str, cut: int) -> None:
    text = f"[{CAT}, {noise} {DOG}]"[:cut]
    parsed = read(text)
    spans = [item.span for item in parsed.objects]
    assert spans == sorted(spans)
    for drop in parsed.dropped:
        assert drop.text in text


@pytest.mark.parametrize(
    "piece", ["{", "[", "`", '{"', '{"a":[', '{"a":{', '{"bbox_2d":[[', "[ ", '{"label":"']
)
def test_long_nonsense_is_read_in_no_time(piece: str) -> None:
    read(piece * 20_000)


def test_a_score_is_made_of_the_digits_and_counts_them_once() -> None:
    pieces = (
        ("[{", 0.5),  # that there is an object at all
        ('"bbox_2d": [', 0.5),
        ("1", 0.8),
        (", ", 0.1),
        ("2", 0.9),
        (", ", 0.1),
        ("3", 0.5),
        ("0", 0.5),
        (", ", 0.1),
        ("4", 1.0),
        ('], "label": "', 0.1),
        ("cat", 0.7),
        ('"}]', 0.1),
    )
    said = Answer(
        text="".join(piece for piece, _ in pieces),
        pieces=tuple(piece for piece, _ in pieces),
        probabilities=tuple(p for _, p in pieces),
        finish_reason="eos",
    )
    (item,) = read(said.text).objects
    parts = score_parts(AnswerTokens(said), item)
    # coord (0.8 * 0.9 * 0.25 * 1) ** (1/4) = 0.18 ** 0.25; another: the two openings
    assert parts == pytest.approx({"desc": 0.7, "coord": 0.6513556, "another": 0.25})
