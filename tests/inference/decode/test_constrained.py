import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from coordexp.answers.answer import Answer
from coordexp.answers.parse import parse_prediction
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.image import load_image
from coordexp.data.files.jsonl import RecordFile
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.inference.decode.constrained import ConstrainedDecoder
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.pick import by_chance
from coordexp.inference.run.ask import AskOptions, Question, build_ask
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.model.coord_offset import install_coord_offset_adapter
from coordexp.model.vocab_expansion import expand_vocabulary
from coordexp.rendering.encode import Example
from tests.families.tiny_models import TINY_BASES, with_patience

LIMIT = 60
CLASSES = ("seven", "six", "sixteen", "a (very) odd one")


# Seeds with which a random model has something to say.
TALKING = {"qwen3_vl": 2, "qwen3_5": 0, "qwen3_5_moe": 3}


@pytest.fixture(scope="module", params=with_patience(TALKING))
def predictor(
    request: pytest.FixtureRequest,
    model_path: Path,
    as_merged: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Predictor:
    """A model whose layers all look back at the tokens, and one whose layers mostly have states."""
    if request.param == "qwen3_vl":
        return load_predictor(model_path)
    path = tmp_path_factory.mktemp(request.param)
    TINY_BASES[request.param](path / "base")
    expand_vocabulary(path / "base", path / "expanded", alphabet=SPEC_ALPHABET, init="digits")
    return load_predictor(as_merged(path / "expanded", path / "model"))


@pytest.fixture(scope="module")
def prompts(predictor: Predictor, scenes: Path) -> Sequence[Example]:
    """Prompts of different lengths."""
    records = list(RecordFile(scenes, SPEC_ALPHABET)[:4])
    records[1] = replace(records[1], prompt="Find every digit in this picture, whatever it takes.")
    return [
        predictor.encoder.encode_prompt(record, load_image(scenes.parent, record))
        for record in records
    ]


@pytest.fixture(scope="module")
def talker(predictor: Predictor) -> Predictor:
    """A random model that says something else about each picture, and stops now and then."""
    model = copy.deepcopy(predictor.model)
    torch.manual_seed(TALKING[predictor.encoder.inputs.family.name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(3 * torch.randn_like(parameter) * parameter.std())
    return replace(predictor, model=model)


def decoder(
    predictor: Predictor,
    classes: Sequence[str] | None = CLASSES,
    **options: Any,  # noqa: ANN401
) -> ConstrainedDecoder:
    """Return one with a list of classes: a random model would babble on in free text."""
    assert predictor.vocab is not None
    grammar = AnswerGrammar(predictor.encoder, restrict_to=classes)
    return ConstrainedDecoder(
        predictor.model, predictor.encoder, predictor.vocab, grammar, **options
    )


@pytest.fixture(scope="module")
def answers(talker: Predictor, prompts: Sequence[Example]) -> Sequence[Answer]:
    return decoder(talker).answers(prompts, max_new_tokens=LIMIT)


def assert_same(one: Answer, other: Answer) -> None:
    assert one.pieces == other.pieces
    assert one.finish_reason == other.finish_reason
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    assert list(one.beliefs) == list(other.beliefs)
    for place, belief in one.beliefs.items():
        assert belief.mean_bin == pytest.approx(other.beliefs[place].mean_bin, abs=1e-3)


def test_jumping_changes_no_answer(
    talker: Predictor, prompts: Sequence[Example], answers: Sequence[Answer]
) -> None:
    slow = decoder(talker, jump=False).answers(prompts, max_new_tokens=LIMIT)
    for one, other in zip(answers, slow, strict=True):
        assert_same(one, other)
        assert 2 * one.passes < other.passes


def test_a_batch_answers_as_one_by_one(
    talker: Predictor, prompts: Sequence[Example], answers: Sequence[Answer]
) -> None:
    """Prompts of several lengths, rows that end early, guesses that fail in one row only."""
    assert len({answer.passes for answer in answers}) > 1
    asked = decoder(talker)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert_same(asked.answers([prompt], max_new_tokens=LIMIT)[0], answer)


def test_every_answer_can_be_read_as_a_whole(answers: Sequence[Answer]) -> None:
    for answer in answers:
        parsed = parse_prediction(
            answer.text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
        )
        assert (parsed.status, parsed.dropped) == ("ok", ())


@pytest.mark.parametrize("limit", [1, 5, 14])
def test_a_limit_closes_the_answer(
    talker: Predictor, prompts: Sequence[Example], limit: int
) -> None:
    """The first answer is a long one."""
    answers = decoder(talker).answers(prompts[:2], max_new_tokens=limit)
    assert answers[0].finish_reason == "length"
    for answer in answers:
        parsed = parse_prediction(
            answer.text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
        )
        assert (parsed.status, parsed.dropped) == ("ok", ())
        assert len(parsed.objects) == 1


@torch.no_grad()
def test_probabilities_are_those_of_a_teacher_forced_pass(
    talker: Predictor, prompts: Sequence[Example], answers: Sequence[Answer]
) -> None:
    """Each choice is the argmax of what is allowed, by a pass without cache, mask or jumps."""
    assert talker.vocab is not None
    coords = talker.vocab.ids
    prompt, answer = prompts[1], answers[1]
    said = talker.encoder.tokenizer.encode(answer.text, add_special_tokens=False)
    ids = torch.cat([prompt.input_ids, torch.tensor(said)])
    logits = talker.model(
        input_ids=ids[None],
        mm_token_type_ids=(ids == talker.encoder.image_token_id).int()[None],
        pixel_values=prompt.pixel_values,
        image_grid_thw=prompt.image_grid_thw,
    ).logits[0, len(prompt) - 1 : -1]
    checked = 0
    for place, belief in answer.beliefs.items():
        own = logits[place, coords.start : coords.stop].double().softmax(-1)
        chosen = said[place] - coords.start
        assert own[chosen] >= own[chosen:].max() - 1e-6
        mass = own[max(0, chosen - 8) : chosen + 9].sum()
        assert belief.mass == pytest.approx(float(mass), abs=1e-4)
        entropy = -(own * own.log()).sum()
        assert belief.entropy == pytest.approx(float(entropy), abs=1e-3)
        checked += 1
    assert checked >= 4


def test_corners_may_come_in_any_order_where_that_is_asked_for(
    talker: Predictor, prompts: Sequence[Example]
) -> None:
    options = AskOptions(constrain=True, restrict_to=CLASSES, max_new_tokens=LIMIT, ordered=False)
    picture = Image.new("RGB", (1, 1))
    free = build_ask(talker, options)([Question(prompt, picture) for prompt in prompts])
    reasons = {
        drop.reason
        for answer in free
        for drop in parse_prediction(
            answer.text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
        ).dropped
    }
    # That of the mixture says its corners in order even so.
    in_order = talker.encoder.inputs.family.name == "qwen3_5_moe"
    assert reasons == (set() if in_order else {"corners in the wrong order"})


def test_a_restriction_is_kept_to(answers: Sequence[Answer]) -> None:
    for answer in answers:
        parsed = parse_prediction(
            answer.text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
        )
        assert parsed.objects
        assert {item.desc for item in parsed.objects} <= set(CLASSES)


def test_free_text_is_closed_when_it_grows_too_long(
    talker: Predictor, prompts: Sequence[Example]
) -> None:
    fast, slow = (
        decoder(talker, classes=None, jump=jump).answers(prompts[:2], max_new_tokens=12)
        for jump in (True, False)
    )
    for one, other in zip(fast, slow, strict=True):
        assert_same(one, other)
        parsed = parse_prediction(
            one.text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
        )
        assert (parsed.status, one.finish_reason) == ("ok", "length")


def test_offsets_of_an_adapter_are_read(predictor: Predictor, prompts: Sequence[Example]) -> None:
    """A model with offsets answers as one that has them added to its rows."""
    assert predictor.vocab is not None
    ids = list(predictor.vocab.ids)
    shift = 0.2 * torch.randn(len(ids), predictor.model.config.text_config.hidden_size)
    adapted, merged = copy.deepcopy(predictor.model), copy.deepcopy(predictor.model)
    install_coord_offset_adapter(adapted, coord_ids=ids, tie_head=True)
    with torch.no_grad():
        adapted.get_input_embeddings().coord_offset_adapter.rows.copy_(shift)
        merged.get_input_embeddings().weight[ids] += shift
    one, other, plain = (
        decoder(replace(predictor, model=model)).answers(prompts[:2], max_new_tokens=20)
        for model in (adapted, merged, predictor.model)
    )
    for ours, theirs in zip(one, other, strict=True):
        assert_same(ours, theirs)
    assert [answer.text for answer in one] != [answer.text for answer in plain]


def test_tokens_are_those_of_the_answer_and_the_forced_ones_are_told_apart(
    talker: Predictor, prompts: Sequence[Example]
) -> None:
    assert talker.vocab is not None
    answers = decoder(talker).answers(prompts, max_new_tokens=LIMIT)
    said = decoder(talker).tokens(prompts, max_new_tokens=LIMIT)
    alone = decoder(talker, jump=False).tokens(prompts, max_new_tokens=LIMIT)
    assert said == alone
    for answer, tokens in zip(answers, said, strict=True):
        assert tokens.ids[-1] == talker.encoder.end_of_turn_id
        assert len(tokens.ids) == len(answer.pieces) + 1
        coords = [token in talker.vocab.ids for token in tokens.ids]
        assert all(free for free, is_coord in zip(tokens.free, coords, strict=True) if is_coord)
        assert not all(tokens.free)


def test_what_is_said_by_chance_at_no_temperature_is_the_likeliest(
    talker: Predictor, prompts: Sequence[Example]
) -> None:
    greedy = decoder(talker).tokens(prompts, max_new_tokens=LIMIT)
    cold = decoder(talker, pick=by_chance(1e-6)).tokens(prompts, max_new_tokens=LIMIT)
    assert cold == greedy


def test_what_is_said_by_chance_stays_inside_the_grammar(
    talker: Predictor, prompts: Sequence[Example]
) -> None:
    torch.manual_seed(0)
    hot = decoder(talker, pick=by_chance(2.0))
    first, second = (hot.tokens(prompts, max_new_tokens=LIMIT) for _ in range(2))
    assert first != second
    for tokens in (*first, *second):
        text = talker.encoder.tokenizer.decode(list(tokens.ids))
        parsed = parse_prediction(
            text, alphabet=SPEC_ALPHABET, coord_tokens=True, end_marks=QWEN3_VL.end_marks
        )
        assert parsed.status == "ok"


def test_chance_is_that_of_the_logits_and_the_temperature() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[0.0, 2.0, -torch.inf]]).expand(4_000, -1)
    share = (by_chance(2.0)(logits) == 1).float().mean().item()
    assert share == pytest.approx(0.731, abs=0.03)
    assert not (by_chance(2.0)(logits) == 2).any()
