import math
from dataclasses import replace

import pytest

from coordexp.answers.answer import Answer
from coordexp.answers.belief import CoordBelief
from coordexp.answers.box_scores import AnswerTokens, score, score_parts
from coordexp.answers.parse import ParsedObject, parse_prediction
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.families.qwen3_vl.family import QWEN3_VL


def answer(*pieces: tuple[str, float]) -> Answer:
    return Answer(
        text="".join(text for text, _ in pieces),
        pieces=tuple(text for text, _ in pieces),
        probabilities=tuple(p for _, p in pieces),
        finish_reason="eos",
    )


def only_object(said: Answer, *, coord_tokens: bool) -> ParsedObject:
    parsed = parse_prediction(
        said.text, alphabet=SPEC_ALPHABET, coord_tokens=coord_tokens, end_marks=QWEN3_VL.end_marks
    )
    (item,) = parsed.objects
    return item


def test_golden_score_of_coord_tokens() -> None:
    said = answer(
        ('{"object_1": {"desc": "', 0.01),  # that there is an object at all
        ("black", 0.9),
        (" cat", 0.8),
        ('", "bbox_2d": ["', 0.5),
        ("<|coord_1|>", 0.9),
        ('", "', 0.5),
        ("<|coord_2|>", 0.8),
        ('", "', 0.5),
        ("<|coord_30|>", 0.7),
        ('", "', 0.5),
        ("<|coord_40|>", 0.6),
        ('"]}}', 0.5),
    )
    parts = score_parts(AnswerTokens(said), only_object(said, coord_tokens=True))
    # desc 0.9 * 0.8; coord (0.9 * 0.8 * 0.7 * 0.6) ** (1/4) = 0.3024 ** 0.25; another: the opening
    assert parts == pytest.approx({"desc": 0.72, "coord": 0.7415586, "another": 0.01})
    assert score(parts) == pytest.approx(0.005339222)


def test_golden_score_of_integers_multiplies_digits() -> None:
    said = answer(
        ('{"object_1": {"desc": "', 1.0),
        ("cat", 0.5),
        ('", "bbox_2d": [', 1.0),
        ("1", 0.5),
        ("2", 0.5),
        (", ", 0.1),
        ("3", 1.0),
        (", ", 0.1),
        ("40", 0.25),
        (", ", 0.1),
        ("5", 1.0),
        ("0", 1.0),
        ("]}}", 1.0),
    )
    parts = score_parts(AnswerTokens(said), only_object(said, coord_tokens=False))
    # coord (0.5 * 0.5 * 1 * 0.25 * 1) ** (1/4) = 0.5
    assert parts == pytest.approx({"desc": 0.5, "coord": 0.5, "another": 1.0})


def test_a_token_that_reaches_beyond_the_span_counts() -> None:
    spans = AnswerTokens(answer(("ab", 0.5), ("cd", 0.25), ("ef", 0.125)))
    assert spans.log_probability((1, 3)) == pytest.approx(math.log(0.125))
    assert spans.log_probability((2, 4)) == pytest.approx(math.log(0.25))
    assert spans.log_probability((2, 2)) == 0.0


def test_every_token_of_a_character_counts() -> None:
    spans = AnswerTokens(
        answer(('"', 0.1), ("", 0.5), ("é", 0.25), ("", 0.5), ("ü", 0.5), ('"', 0.1))
    )
    assert spans.log_probability((1, 3)) == pytest.approx(math.log(0.5 * 0.25 * 0.5 * 0.5))
    assert spans.log_probability((1, 2)) == pytest.approx(math.log(0.5 * 0.25))


def test_a_probability_of_zero_gives_a_score_and_not_an_error() -> None:
    spans = AnswerTokens(answer(("a", 0.0)))
    assert math.exp(spans.log_probability((0, 1))) < 1e-300


def test_an_answer_without_tokens_has_no_spans() -> None:
    assert AnswerTokens(answer()).log_probability((0, 1)) == 0.0


def test_another_is_what_stands_between_two_objects() -> None:
    said = answer(
        ('{"object_1": {"desc": "cat", "bbox_2d": [', 0.5),
        ("1, 2, 3, 4", 0.5),
        ("]", 0.9),
        ("}, ", 0.8),
        ('"object_2": {"desc": "', 0.5),
        ("dog", 0.5),
        ('", "bbox_2d": [', 0.1),
        ("1, 2, 3, 4", 0.5),
        ("]}}", 0.1),
    )
    parsed = parse_prediction(
        said.text, alphabet=SPEC_ALPHABET, coord_tokens=False, end_marks=QWEN3_VL.end_marks
    )
    parts = score_parts(AnswerTokens(said), parsed.objects[1])
    assert parts["another"] == pytest.approx(0.9 * 0.8 * 0.5)


def test_entropy_is_the_mean_over_the_coord_tokens_that_are_believed_in() -> None:
    said = answer(
        ('{"object_1": {"desc": "', 1.0),
        ("cat", 1.0),
        ('", "line": ["', 1.0),
        *[(f"<|coord_{k}|>", 1.0) if place % 2 == 0 else ('", "', 1.0) for k, place in POINTS],
        ('"]}}', 1.0),
    )
    beliefs = {
        place + 3: CoordBelief(mass=1.0, entropy=float(k), mean_bin=0.0)
        for k, place in POINTS
        if place % 2 == 0
    }
    item = only_object(said, coord_tokens=True)
    parts = score_parts(AnswerTokens(replace(said, beliefs=beliefs)), item)
    assert parts["entropy"] == pytest.approx((1 + 3 + 5 + 7) / 4)


POINTS = [(1, 0), (0, 1), (3, 2), (0, 3), (5, 4), (0, 5), (7, 6)]
