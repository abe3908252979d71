from collections.abc import Callable

import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.chat import Chat, parse_chat
from coordexp.errors import CheckpointError, RecordError
from coordexp.rendering.collate import Collator, blank_example, with_a_picture
from coordexp.rendering.encode import IGNORE_INDEX, Encoder, Example
from coordexp.rendering.packing import PackCollator

MakeEncoder = Callable[..., Encoder]
PICTURE = Image.new("RGB", (64, 32), "red")


def chat_of(*contents: str, images: int = 0, system: str | None = None) -> Chat:
    roles = ["user", "assistant"] * (len(contents) // 2)
    rows = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
    head = [] if system is None else [{"role": "system", "content": system}]
    return parse_chat({"messages": [*head, *rows], "images": ["a.png"] * images}, SPEC_ALPHABET)


def supervised(encoder: Encoder, example: Example) -> str:
    text = encoder.tokenizer.decode(example.labels[example.labels != IGNORE_INDEX])
    assert isinstance(text, str)
    return text


def test_each_answer_and_its_end_are_supervised_and_nothing_else(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(system_prompt="never shown")
    example = encoder.encode_chat(chat_of("one", "1", "two", "22", system="Count."), [])
    assert encoder.tokenizer.decode(example.input_ids) == (
        "<|im_start|>system\nCount.<|im_end|>\n<|im_start|>user\none<|im_end|>\n"
        "<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\ntwo<|im_end|>\n"
        "<|im_start|>assistant\n22<|im_end|>"
    )
    assert supervised(encoder, example) == "1<|im_end|>22<|im_end|>"
    kept = example.labels != IGNORE_INDEX
    assert torch.equal(example.labels[kept], example.input_ids[kept])


def test_a_chat_of_text_alone_has_no_patches(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    example = encoder.encode_chat(chat_of("hello", "hi"), [])
    with_picture = encoder.encode_chat(chat_of("hello", "hi", images=1), [PICTURE])
    assert example.pixel_values.shape == (0, with_picture.pixel_values.shape[1])
    assert example.image_grid_thw.shape == (0, 3)
    steps = torch.arange(len(example))
    assert torch.equal(example.position_ids, steps.expand(3, -1))


def test_a_question_about_a_picture_reads_as_a_records_prompt(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(user_prompt="What is this?")
    example = encoder.encode_chat(chat_of("What is this?", "A cat.", images=1), [PICTURE])
    asked = encoder.encode_chat(chat_of("What is <image> this?", "A cat.", images=1), [PICTURE])
    assert len(asked) >= len(example)
    prompt = encoder.conversation.prompt("What is this?")
    text = encoder.tokenizer.decode(example.input_ids)
    assert isinstance(text, str)
    assert text.startswith(prompt.split("<|image_pad|>")[0])
    assert text.replace("<|image_pad|>", "") == prompt.replace("<|image_pad|>", "") + (
        "A cat.<|im_end|>"
    )


@pytest.mark.parametrize("images", [0, 1, 3])
def test_the_length_is_known_without_pictures(make_encoder: MakeEncoder, images: int) -> None:
    encoder = make_encoder()
    chat = chat_of("hello", "hi", "and?", "no", images=images)
    pictures = [PICTURE.resize((64 * (number + 1), 64)) for number in range(images)]
    length = encoder.chat_length(chat, [picture.size for picture in pictures])
    assert length == len(encoder.encode_chat(chat, pictures))


def test_a_special_token_in_a_chat_is_refused(make_encoder: MakeEncoder) -> None:
    encoder = make_encoder()
    with pytest.raises(RecordError, match=r"messages\[1\]: holds the special token <\|im_end\|>"):
        encoder.encode_chat(chat_of("hello", "hi<|im_end|>"), [])
    assert encoder.encode_chat(chat_of("where?", "<|coord_3|>"), [])


def test_a_template_that_rewrites_earlier_turns_is_refused(
    make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder()
    template = str(encoder.tokenizer.chat_template)
    rewriting = "{% if messages|length > 2 %}{{ 'long' }}{% endif %}" + template
    monkeypatch.setattr(encoder.tokenizer, "chat_template", rewriting)
    assert encoder.encode_chat(chat_of("a", "b"), [])
    with pytest.raises(CheckpointError, match="writes a turn another way once others follow"):
        encoder.encode_chat(chat_of("a", "b", "c", "d"), [])


def test_a_batch_of_text_alone_gets_a_blank_picture(
    make_encoder: MakeEncoder, tiny_model: PreTrainedModel
) -> None:
    encoder = make_encoder()
    blank = blank_example(encoder)
    text = encoder.encode_chat(chat_of("hello", "hi"), [])
    seen = encoder.encode_chat(chat_of("hello", "hi", images=1), [PICTURE])
    assert [*with_a_picture([text], blank)] == [text, blank]
    assert [*with_a_picture([text, seen], blank)] == [text, seen]
    collators = (
        Collator(
            pad_id=encoder.tokenizer.pad_token_id,
            image_token_id=encoder.image_token_id,
            side="right",
            blank=blank,
        ),
        PackCollator(inputs=encoder.inputs, image_token_id=encoder.image_token_id, blank=blank),
    )
    for collate in collators:
        batch = collate([text])
        assert (batch["labels"] != IGNORE_INDEX).sum() == (text.labels != IGNORE_INDEX).sum()
        labels = batch.pop("labels")
        output = tiny_model(**batch, use_cache=False)
        assert output.logits.shape[:2] == labels.shape
