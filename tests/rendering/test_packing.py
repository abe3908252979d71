from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from coordexp.data.contract.record import Record
from coordexp.model.load import load_base, load_inputs, load_tokenizer
from coordexp.rendering.collate import Batch, Collator, blank_example
from coordexp.rendering.encode import IGNORE_INDEX, Example
from coordexp.rendering.packing import PackCollator
from tests.rendering.conftest import EncoderMaker, Sample, encode

SIZES = ((128, 128), (64, 160), (192, 96), (128, 128))

Pack = Callable[[Sequence[Example]], Batch]


@pytest.fixture(scope="module")
def make_encoder(family_base: Path) -> EncoderMaker:
    """Of each family."""
    inputs = load_inputs(family_base, min_pixels=None, max_pixels=None)
    return EncoderMaker(load_tokenizer(family_base), inputs)


@pytest.fixture(scope="module")
def tiny_model(family_base: Path) -> PreTrainedModel:
    return load_base(family_base, dtype="float32", attn_implementation="sdpa").eval()


@pytest.fixture(scope="module")
def examples(make_encoder: EncoderMaker, samples: list[Sample]) -> list[Example]:
    """Four with pictures of different shapes and answers of different lengths."""
    encoder = make_encoder()
    found = [
        encode(encoder, (record, picture.resize(size)))
        for (record, picture), size in zip(samples, SIZES, strict=False)
    ]
    assert len({len(example) for example in found}) > 2
    return found


@pytest.fixture(scope="module")
def pack(make_encoder: EncoderMaker) -> Pack:
    encoder = make_encoder()
    return PackCollator(
        inputs=encoder.inputs, image_token_id=encoder.image_token_id, blank=blank_example(encoder)
    )


@pytest.fixture(scope="module")
def pad(make_encoder: EncoderMaker) -> Pack:
    encoder = make_encoder()
    pad_id = encoder.tokenizer.pad_token_id
    return Collator(pad_id=pad_id, image_token_id=encoder.image_token_id, side="right")


def hidden(model: PreTrainedModel, batch: Batch, **changes: object) -> Tensor:
    """Return the hidden states of a packed batch, `[T, D]`."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    call = {"use_cache": False, **inputs, **changes}
    with torch.no_grad():
        states: Tensor = model.model(**call).last_hidden_state
    return states[0]


def split(states: Tensor, examples: Sequence[Example]) -> list[Tensor]:
    return list(states.split([len(example) for example in examples]))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_in_a_pack_every_example_is_what_it_is_alone(
    tiny_model: PreTrainedModel, examples: list[Example], pack: Pack, pad: Pack, attention: str
) -> None:
    before = tiny_model.config._attn_implementation
    tiny_model.set_attn_implementation(attention)
    try:
        together = split(hidden(tiny_model, pack(examples)), examples)
        alone = [hidden(tiny_model, pad([example])) for example in examples]
    finally:
        tiny_model.set_attn_implementation(before)
    for packed, single in zip(together, alone, strict=True):
        torch.testing.assert_close(packed, single, rtol=1e-5, atol=1e-5)


def per_token_losses(model: PreTrainedModel, batch: Batch) -> Tensor:
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits = model(**inputs, use_cache=False).logits[0, :-1]
    return cross_entropy(logits, batch["labels"][0, 1:], reduction="none")


def test_losses_and_gradients_are_those_of_the_examples_alone(
    tiny_model: PreTrainedModel, examples: list[Example], pack: Pack, pad: Pack
) -> None:
    parameters = list(tiny_model.parameters())
    alone = [per_token_losses(tiny_model, pad([example])) for example in examples]
    expected = torch.autograd.grad(sum(losses.sum() for losses in alone), parameters)
    packed = per_token_losses(tiny_model, pack(examples))
    got = torch.autograd.grad(packed.sum(), parameters)
    # Between two examples stands the border, whose target is ignored.
    joined = torch.cat([functional.pad(losses, (0, 1)) for losses in alone])[:-1]
    torch.testing.assert_close(packed, joined, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def leak(model: PreTrainedModel, examples: list[Example], pack: Pack, **changes: object) -> float:
    """Return how far the last example of a pack is from itself alone."""
    packed = split(hidden(model, pack(examples), **changes), examples)[-1]
    return float((packed - hidden(model, pack(examples[-1:]))).abs().max())


def test_each_of_the_three_conditions_is_needed(
    tiny_model: PreTrainedModel, examples: list[Example], pack: Pack
) -> None:
    batch = pack(examples)
    assert leak(tiny_model, examples, pack) < 1e-5
    # Three rows: the mRoPE rows alone show no border.
    assert leak(tiny_model, examples, pack, position_ids=batch["position_ids"][1:]) > 1e-3
    # A mask, though it masks nothing, stands for "no packs here".
    ones = torch.ones_like(batch["input_ids"])
    assert leak(tiny_model, examples, pack, attention_mask=ones) > 1e-3
    # And so does a cache.
    assert leak(tiny_model, examples, pack, use_cache=True) > 1e-3


def test_no_token_sees_another_example(
    tiny_model: PreTrainedModel, examples: list[Example], pack: Pack
) -> None:
    before = split(hidden(tiny_model, pack(examples)), examples)
    for place, example in enumerate(examples):
        other = replace(
            example,
            input_ids=torch.where(example.labels == IGNORE_INDEX, example.input_ids, 40),
            pixel_values=-example.pixel_values,
        )
        changed = [*examples[:place], other, *examples[place + 1 :]]
        after = split(hidden(tiny_model, pack(changed)), examples)
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            difference = float((old - new).abs().max())
            assert difference > 1e-3 if number == place else difference <= 1e-6


def test_the_rows_are_those_of_each_example(examples: list[Example], pack: Pack) -> None:
    batch = pack(examples)
    rows = batch["position_ids"][:, 0].split([len(example) for example in examples], dim=1)
    for example, (text, *mrope) in zip(examples, rows, strict=True):
        assert text.tolist() == list(range(len(example)))
        assert torch.equal(torch.stack(mrope), example.position_ids)
    assert "attention_mask" not in batch
    assert batch["input_ids"].shape == (1, sum(map(len, examples)))
    assert torch.equal(batch["labels"][0], torch.cat([example.labels for example in examples]))


def test_an_empty_pack_has_a_picture_and_no_target(
    tiny_model: PreTrainedModel, make_encoder: EncoderMaker, pack: Pack
) -> None:
    batch = pack([])
    assert (batch["labels"] == IGNORE_INDEX).all()
    assert len(batch["image_grid_thw"]) == 1
    assert torch.isfinite(hidden(tiny_model, batch)).all()
    encoder = make_encoder()
    padded = Collator(
        pad_id=0, image_token_id=encoder.image_token_id, side="right", blank=blank_example(encoder)
    )([])
    assert torch.equal(padded["input_ids"], batch["input_ids"])


def test_an_empty_batch_needs_a_blank_example() -> None:
    with pytest.raises(ValueError, match="give the collator a blank example"):
        Collator(pad_id=0, image_token_id=1, side="right")([])


def test_a_target_without_a_token_before_it_is_refused(examples: list[Example], pack: Pack) -> None:
    wrong = replace(examples[0], labels=examples[0].input_ids)
    with pytest.raises(ValueError, match="must not be a target"):
        pack([wrong])


def test_pictures_keep_the_order_of_their_placeholders(examples: list[Example], pack: Pack) -> None:
    batch = pack(examples)
    assert torch.equal(
        batch["image_grid_thw"], torch.cat([example.image_grid_thw for example in examples])
    )
    merged = batch["image_grid_thw"].prod(dim=1) // 4
    assert int(batch["mm_token_type_ids"].sum()) == int(merged.sum())


def test_the_blank_is_white_and_small(make_encoder: EncoderMaker) -> None:
    encoder = make_encoder()
    blank = blank_example(encoder)
    whole = Image.new("RGB", (16, 16), "white")
    again = encoder.encode_prompt(Record(images=("b",), width=16, height=16, objects=()), whole)
    assert torch.equal(blank.pixel_values, again.pixel_values)
    assert (blank.labels == IGNORE_INDEX).all()
