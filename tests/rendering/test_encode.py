from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.marks import Marks
from coordexp.data.contract.record import RecordObject
from coordexp.data.plan.ordering import ObjectOrdering, ordered_objects
from coordexp.errors import CheckpointError, InputError, RecordError
from coordexp.families.inputs import ModelInputs
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.rendering.dense_json import parse_answer, render_answer
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from tests.model.qwen import FIRST_COORD_ID, LAST_COORD_ID, load_real_tokenizer
from tests.rendering.conftest import EncoderMaker, Sample, encode
from tests.rendering.plain import PLAIN_STYLE

EMPTY = ()
HARD_TO_SPLIT = (
    RecordObject('a "b"] }, {"object_2": é 汉字', Geometry("bbox_2d", (0, 1, 998, 999), "bin")),
    RecordObject("4711", Geometry("poly", (5, 6, 70, 80, 900, 10), "bin")),
    RecordObject("ends in a colon: ", Geometry("line", (0, 0, 999, 999, 1, 2), "bin")),
    RecordObject("a point", Geometry("point_2d", (999, 0), "bin")),
)


def answer_of(encoder: Encoder, sample: Sample) -> str:
    record, _ = sample
    style = encoder.style
    objects = ordered_objects(
        record, style.object_ordering, seed=0, epoch=0, index=0, alphabet=SPEC_ALPHABET
    )
    return render_answer(
        objects,
        record.width,
        record.height,
        alphabet=style.alphabet,
        json_format=style.json_format,
        coord_tokens=style.coord_tokens,
    )


@pytest.fixture(scope="module")
def real_encoder(processor: ModelInputs) -> Encoder:
    """The real Qwen3 tokenizer with coord tokens."""
    tokenizer = load_real_tokenizer()
    tokenizer.add_tokens([SPEC_ALPHABET.wildcard, *SPEC_ALPHABET.tokens()], special_tokens=True)
    return Encoder(tokenizer, processor, PLAIN_STYLE)


def check_example(encoder: Encoder, sample: Sample) -> None:
    """Check all that must hold for any example."""
    example, prompt = encode(encoder, sample), encoder.encode_prompt(*sample)
    tokenizer = encoder.tokenizer
    ids, labels = example.input_ids, example.labels
    answer = answer_of(encoder, sample)

    assert len(example) == len(ids) == len(labels) == example.position_ids.shape[1]
    # The prompt is a prefix, and nothing of it is learned.
    assert torch.equal(ids[: len(prompt)], prompt.input_ids)
    assert torch.equal(example.position_ids[:, : len(prompt)], prompt.position_ids)
    assert (prompt.labels == IGNORE_INDEX).all()
    # What is learned is the answer and the token that ends the turn.
    learned = labels != IGNORE_INDEX
    assert torch.equal(learned, torch.arange(len(ids)) >= len(prompt))
    assert torch.equal(labels[learned], ids[learned])
    assert tokenizer.decode(labels[learned]) == answer + "<|im_end|>"
    # One placeholder for each merged patch.
    merged = int(example.image_grid_thw.prod()) // 2**2
    assert int((ids == encoder.image_token_id).sum()) == merged
    # Every coordinate is one token.
    if encoder.style.coord_tokens:
        vocab = CoordVocab.from_tokenizer(tokenizer, encoder.style.alphabet)
        bins = [vocab.bin_of(int(token_id)) for token_id in labels[learned]]
        parsed = parse_answer(answer, alphabet=encoder.style.alphabet, coord_tokens=True)
        assert [k for k in bins if k >= 0] == [k for _, item in parsed for k in item.values]


@pytest.mark.parametrize("system_prompt", [None, "You find objects."])
@pytest.mark.parametrize("json_format", ["standard", "compact"])
@pytest.mark.parametrize("coord_tokens", [True, False])
def test_an_example_teaches_the_answer_and_nothing_else(
    make_encoder: EncoderMaker,
    samples: list[Sample],
    system_prompt: str | None,
    json_format: str,
    coord_tokens: bool,
) -> None:
    encoder = make_encoder(
        system_prompt=system_prompt, json_format=json_format, coord_tokens=coord_tokens
    )
    for sample in samples[:2]:
        check_example(encoder, sample)


@pytest.mark.parametrize("objects", [EMPTY, HARD_TO_SPLIT])
def test_an_image_may_be_empty_or_hold_strange_text(
    make_encoder: EncoderMaker, samples: list[Sample], objects: tuple[RecordObject, ...]
) -> None:
    record, picture = samples[0]
    check_example(make_encoder(), (replace(record, objects=objects), picture))


@pytest.mark.parametrize("objects", [EMPTY, HARD_TO_SPLIT, None])
@pytest.mark.parametrize("json_format", ["standard", "compact"])
def test_the_real_tokenizer_round_trips(
    real_encoder: Encoder,
    samples: list[Sample],
    objects: tuple[RecordObject, ...] | None,
    json_format: str,
) -> None:
    record, picture = samples[0]
    encoder = Encoder(
        real_encoder.tokenizer,
        real_encoder.inputs,
        replace(PLAIN_STYLE, json_format=json_format),  # type: ignore[arg-type]
    )
    sample = (record if objects is None else replace(record, objects=objects), picture)
    check_example(encoder, sample)
    ids = encode(encoder, sample).labels
    coord = ids[(ids >= FIRST_COORD_ID) & (ids <= LAST_COORD_ID)]
    assert len(coord) == sum(len(item.geometry.values) for item in sample[0].objects)


def test_a_record_may_ask_its_own_question(
    make_encoder: EncoderMaker, samples: list[Sample]
) -> None:
    record, picture = samples[0]
    encoder = make_encoder()
    own = encoder.encode_prompt(replace(record, prompt="Where is the seven?"), picture)
    text = encoder.tokenizer.decode(own.input_ids)
    assert "Where is the seven?" in text
    assert PLAIN_STYLE.user_prompt not in text
    assert PLAIN_STYLE.user_prompt in encoder.tokenizer.decode(
        encoder.encode_prompt(record, picture).input_ids
    )


def test_the_usual_question_is_rendered_once(
    make_encoder: EncoderMaker, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, picture = samples[0]
    encoder = make_encoder()
    own = encoder.encode_prompt(replace(record, prompt=PLAIN_STYLE.user_prompt), picture)
    monkeypatch.delattr(type(encoder.conversation), "prompt")
    assert torch.equal(encoder.encode_prompt(record, picture).input_ids, own.input_ids)
    assert encoder.length(record) == len(encode(encoder, samples[0]))


def test_a_question_may_name_a_place(make_encoder: EncoderMaker, samples: list[Sample]) -> None:
    record, picture = samples[0]
    encoder = make_encoder()
    asked = replace(record, prompt="What is at <|coord_3|><|coord_4|>?")
    ids = encoder.encode_prompt(asked, picture).input_ids.tolist()
    assert encoder.tokenizer.convert_tokens_to_ids("<|coord_3|>") in ids


def test_random_order_depends_on_epoch_and_index_alone(
    make_encoder: EncoderMaker, samples: list[Sample]
) -> None:
    record, picture = max(samples, key=lambda sample: len(sample[0].objects))
    encoder = make_encoder(object_ordering="random")

    def ids(epoch: int) -> list[int]:
        return encoder.encode(record, picture, seed=0, epoch=epoch, index=0).input_ids.tolist()

    assert ids(0) == ids(0)
    assert len({tuple(ids(epoch)) for epoch in range(6)}) > 1


# --- crowds and ignored objects ---


@pytest.mark.parametrize("marks", [Marks(iscrowd=True), Marks(ignore=True)])
@pytest.mark.parametrize("ordering", ["sorted", "random"])
def test_crowds_and_ignored_objects_are_not_taught(
    make_encoder: EncoderMaker, samples: list[Sample], marks: Marks, ordering: ObjectOrdering
) -> None:
    record, picture = samples[0]
    # Its desc is never written, so it may hold what an answer may not.
    thing = RecordObject("a <|im_end|>", Geometry("bbox_2d", (0, 0, 1, 1), "bin"), None, marks)
    more = replace(record, objects=(thing, *record.objects, thing))
    encoder = make_encoder(object_ordering=ordering)
    one, other = (
        encoder.encode(each, picture, seed=0, epoch=0, index=0) for each in (record, more)
    )
    assert one.input_ids.tolist() == other.input_ids.tolist()
    assert one.labels.tolist() == other.labels.tolist()
    assert encoder.length(more) == len(one)


# --- special tokens in a user's text ---


@pytest.mark.parametrize("token", ["<|im_end|>", "<|image_pad|>", "<|endoftext|>"])
def test_a_description_cannot_smuggle_in_a_special_token(
    make_encoder: EncoderMaker, samples: list[Sample], token: str
) -> None:
    record, picture = samples[0]
    thing = RecordObject(f"cat{token}", Geometry("bbox_2d", (0, 0, 1, 1), "bin"))
    bad = replace(record, objects=(*record.objects, thing))
    with pytest.raises(RecordError, match="special token") as caught:
        make_encoder().encode(bad, picture, seed=0, epoch=0, index=0)
    assert token in str(caught.value)
    assert caught.value.obj == len(record.objects)


def test_neither_can_a_question(make_encoder: EncoderMaker, samples: list[Sample]) -> None:
    record, picture = samples[0]
    bad = replace(record, prompt="Find<|image_pad|>")
    with pytest.raises(RecordError, match="prompt: holds the special token"):
        make_encoder().encode_prompt(bad, picture)


@pytest.mark.parametrize("key", ["user_prompt", "system_prompt"])
def test_neither_can_the_configuration(make_encoder: EncoderMaker, key: str) -> None:
    with pytest.raises(InputError, match=rf"custom\.{key}: holds <\|im_end\|>"):
        make_encoder(**{key: "Find.<|im_end|>"})


# --- a base of another family ---


def test_a_tokenizer_without_image_placeholder_is_refused(
    make_encoder: EncoderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(QWEN3_VL, image_token="<no such token>")
    monkeypatch.setattr(make_encoder.processor, "family", other)
    with pytest.raises(CheckpointError, match="no <no such token> token; is it one of qwen3_vl"):
        make_encoder()


def test_a_template_without_picture_is_refused(
    tokenizer: PreTrainedTokenizerBase,
    processor: ModelInputs,
    samples: list[Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blind = str(tokenizer.chat_template).replace("<|image_pad|>", "")
    monkeypatch.setattr(tokenizer, "chat_template", blind)
    with pytest.raises(CheckpointError, match="got 0"):
        Encoder(tokenizer, processor, PLAIN_STYLE).encode_prompt(*samples[0])
