import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coordexp.answers.answer import Answer
from coordexp.answers.belief import WINDOW_BINS
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.inference.decode.free import generate_answers
from coordexp.inference.decode.pieces import text_pieces
from coordexp.inference.run.predict import Predictor
from coordexp.rendering.encode import Example

LENGTH = 16


@dataclass(frozen=True)
class Asked:
    prompts: Sequence[Example]
    answers: Sequence[Answer]


def prompts_of(predictor: Predictor, scenes: Path, count: int) -> list[Example]:
    records = RecordFile(scenes, SPEC_ALPHABET)[:count]
    longer = records[0].__class__(
        images=records[0].images,
        width=records[0].width,
        height=records[0].height,
        objects=(),
        prompt="Find every digit in this picture, please, whatever it takes.",
    )
    return [
        predictor.encoder.encode_prompt(record, load_image(scenes.parent, record))
        for record in [longer, *records[1:]]
    ]


def ask(predictor: Predictor, prompts: Sequence[Example], length: int = LENGTH) -> list[Answer]:
    return generate_answers(
        predictor.model,
        predictor.encoder,
        prompts,
        vocab=predictor.vocab,
        max_new_tokens=length,
    )


def by_hand(predictor: Predictor, prompt: Example) -> list[int]:
    """Return what the model's own greedy `generate` gives, cut before the first stop token."""
    ids: Tensor = predictor.model.generate(
        input_ids=prompt.input_ids[None],
        attention_mask=torch.ones_like(prompt.input_ids[None]),
        mm_token_type_ids=(prompt.input_ids == predictor.encoder.image_token_id).int()[None],
        pixel_values=prompt.pixel_values,
        image_grid_thw=prompt.image_grid_thw,
        max_new_tokens=LENGTH,
        do_sample=False,
    )
    new = ids[0, len(prompt) :].tolist()
    stops = predictor.model.generation_config.eos_token_id
    return new[: next((i for i, token_id in enumerate(new) if token_id in stops), len(new))]


@pytest.fixture(scope="module")
def asked(predictor: Predictor, scenes: Path) -> Asked:
    prompts = prompts_of(predictor, scenes, 3)
    return Asked(prompts=prompts, answers=ask(predictor, prompts))


def test_answers_are_those_of_plain_greedy_generation(predictor: Predictor, asked: Asked) -> None:
    for prompt, answer in zip(asked.prompts, asked.answers, strict=True):
        ids = by_hand(predictor, prompt)
        assert answer.text == predictor.encoder.tokenizer.decode(ids)
        assert len(answer.pieces) == len(answer.probabilities) == len(ids)
        assert "".join(answer.pieces) == answer.text


def test_a_batch_answers_as_one_by_one(predictor: Predictor, asked: Asked) -> None:
    for prompt, answer in zip(asked.prompts, asked.answers, strict=True):
        (alone,) = ask(predictor, [prompt])
        assert alone.text == answer.text
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-4)


@pytest.fixture
def talker(predictor: Predictor) -> Predictor:
    """The same model, louder in its coord rows, so that it says coord tokens."""
    assert predictor.vocab is not None
    model = copy.deepcopy(predictor.model)
    with torch.no_grad():
        model.get_input_embeddings().weight[list(predictor.vocab.ids)] *= 8
    return replace(predictor, model=model)


@pytest.mark.parametrize("name", ["predictor", "talker"])
def test_probabilities_are_those_of_a_teacher_forced_pass(
    request: pytest.FixtureRequest, asked: Asked, name: str
) -> None:
    predictor: Predictor = request.getfixturevalue(name)
    said_a_bin = False
    for prompt, answer in zip(asked.prompts, ask(predictor, asked.prompts), strict=True):
        new = by_hand(predictor, prompt)
        expected = teacher_forced(predictor, prompt, new)
        assert answer.probabilities == pytest.approx(expected, abs=1e-4)
        said_a_bin |= "<|coord_" in answer.text
    assert said_a_bin == (name == "talker")


@torch.no_grad()
def teacher_forced(predictor: Predictor, prompt: Example, new: list[int]) -> list[float]:
    """Return each token's confidence from one pass over prompt and answer."""
    assert predictor.vocab is not None
    coord = predictor.vocab.ids
    ids = torch.cat([prompt.input_ids, torch.tensor(new)])
    logits = predictor.model(
        input_ids=ids[None],
        attention_mask=torch.ones_like(ids[None]),
        mm_token_type_ids=(ids == predictor.encoder.image_token_id).int()[None],
        pixel_values=prompt.pixel_values,
        image_grid_thw=prompt.image_grid_thw,
    ).logits[0]
    confidences = []
    for row, token_id in zip(logits[len(prompt) - 1 : -1].softmax(-1), new, strict=True):
        low, high = token_id, token_id + 1
        if token_id in coord:
            low, high = max(coord.start, low - WINDOW_BINS), min(coord.stop, high + WINDOW_BINS)
        confidences.append(float(row[low:high].sum()))
    return confidences


def test_an_answer_that_is_cut_off_says_so(predictor: Predictor, asked: Asked) -> None:
    (answer,) = ask(predictor, asked.prompts[:1], length=3)
    assert (len(answer.pieces), answer.finish_reason) == (3, "length")


@pytest.mark.parametrize("listed", [True, False])
def test_every_stop_token_of_the_model_ends_an_answer(
    predictor: Predictor, asked: Asked, monkeypatch: pytest.MonkeyPatch, *, listed: bool
) -> None:
    ids = by_hand(predictor, asked.prompts[0])
    stop = ids[4]
    config = predictor.model.generation_config
    monkeypatch.setattr(config, "eos_token_id", [stop] if listed else stop)
    (answer,) = ask(predictor, asked.prompts[:1])
    assert answer.finish_reason == "eos"
    assert len(answer.pieces) == ids.index(stop)
    assert predictor.encoder.tokenizer.decode([stop]) not in answer.text


def test_penalties_of_the_base_are_left_out(
    predictor: Predictor, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("repetition_penalty", 5.0), ("do_sample", True), ("temperature", 0.1)):
        monkeypatch.setattr(predictor.model.generation_config, name, value)
    assert ask(predictor, asked.prompts)[1] == asked.answers[1]


@given(data=st.data())
def test_pieces_join_to_the_text_of_all_tokens(predictor: Predictor, data: st.DataObject) -> None:
    tokenizer = predictor.encoder.tokenizer
    # Byte-level tokens come first: most of these are no text at all.
    ids = data.draw(st.lists(st.integers(0, 300) | st.integers(0, len(tokenizer) - 1)))
    pieces = text_pieces(predictor.encoder, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == tokenizer.decode(ids)


@given(text=st.text())
def test_pieces_join_to_any_text(predictor: Predictor, text: str) -> None:
    ids = predictor.encoder.tokenizer.encode(text, add_special_tokens=False)
    assert "".join(text_pieces(predictor.encoder, ids)) == predictor.encoder.tokenizer.decode(ids)


def test_a_character_belongs_to_its_last_token(predictor: Predictor) -> None:
    ids = predictor.encoder.tokenizer.encode("aé🙂", add_special_tokens=False)
    pieces = text_pieces(predictor.encoder, ids)
    assert [piece for piece in pieces if piece] == ["a", "é", "🙂"]
    assert len(pieces) == 1 + 2 + 4
