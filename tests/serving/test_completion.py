import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp.answers.answer import Answer
from coordexp.client.reply import read_reply
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.serving.completion import completion_json
from tests.serving.conftest import STYLE


def said(answer: Answer, top: int | None) -> bytes:
    return completion_json(
        answer,
        request_id="1",
        created=0,
        model="m",
        prompt_tokens=3,
        top_logprobs=top,
        alphabet=SPEC_ALPHABET,
    )


def likely(best: int, p: float) -> list[float]:
    rest = math.log((1 - p) / 999)
    return [math.log(p) if k == best else rest for k in range(1000)]


ANSWER = Answer(
    text='{"é": "<|coord_5|>',
    pieces=('{"', "", "é", '": "', "<|coord_5|>"),
    probabilities=(1.0, 0.5, 0.25, 0.0, 0.9),
    finish_reason="length",
    coord_log_p={4: likely(7, 0.8)},
)


@pytest.mark.parametrize("top", [1, 20, 1000])
def test_a_client_reads_what_was_said(top: int) -> None:
    read = read_reply(said(ANSWER, top), STYLE, QWEN3_VL.end_marks)
    assert (read.text, read.pieces, read.finish_reason) == (ANSWER.text, ANSWER.pieces, "length")
    assert read.probabilities[:3] == pytest.approx((1.0, 0.5, 0.25))
    assert 0 <= read.probabilities[3] < 1e-300
    # The bins 0 to 13: 0.8 at 7, and thirteen others.
    assert read.beliefs[4].mass == pytest.approx(0.8 + 13 * 0.2 / 999)


def test_as_many_bins_are_told_as_were_asked_for_and_those_around_the_chosen_one() -> None:
    (choice,) = json.loads(said(ANSWER, 3))["choices"]
    content = choice["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in content[:4]] == [1, 1, 1, 1]
    listed = [entry["token"] for entry in content[4]["top_logprobs"]]
    assert listed[0] == "<|coord_7|>"
    assert {f"<|coord_{k}|>" for k in range(14)} <= set(listed)
    assert len(listed) == len(set(listed)) <= 3 + 14
    assert content[2]["bytes"] == list("é".encode())
    assert json.loads(said(ANSWER, None))["choices"][0]["logprobs"] is None


@given(st.floats(0, 1))
def test_probabilities_are_numbers_of_json(p: float) -> None:
    answer = Answer("a", ("a",), (p,), "eos")
    reply = json.loads(said(answer, 1), parse_constant=pytest.fail)
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
