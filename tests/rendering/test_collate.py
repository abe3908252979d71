from typing import Literal

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from coordexp.rendering.collate import Collator
from coordexp.rendering.encode import IGNORE_INDEX, Example
from tests.rendering.conftest import EncoderMaker, Sample, encode

PAD = 0


@pytest.fixture(scope="module")
def examples(make_encoder: EncoderMaker, samples: list[Sample]) -> list[Example]:
    """Three of different lengths."""
    encoder = make_encoder()
    by_length = {len(example): example for example in (encode(encoder, s) for s in samples)}
    assert len(by_length) >= 3
    return [by_length[length] for length in sorted(by_length)][:3]


def collate(
    examples: list[Example], encoder_image_id: int, side: Literal["left", "right"]
) -> dict[str, Tensor]:
    return Collator(pad_id=PAD, image_token_id=encoder_image_id, side=side)(examples)


def image_id(examples: list[Example]) -> int:
    ids, counts = examples[0].input_ids.unique(return_counts=True)
    return int(ids[counts.argmax()])  # nothing is as frequent as the placeholder


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_goes_to_one_side_and_is_masked(
    examples: list[Example], side: Literal["left", "right"]
) -> None:
    batch = collate(examples, image_id(examples), side)
    longest = max(len(example) for example in examples)
    assert batch["input_ids"].shape == (len(examples), longest)
    for row, example in enumerate(examples):
        gap = longest - len(example)
        inside = slice(gap, None) if side == "left" else slice(0, len(example))
        mask = torch.zeros(longest, dtype=torch.bool)
        mask[inside] = True
        assert torch.equal(batch["attention_mask"][row].bool(), mask)
        assert torch.equal(batch["input_ids"][row, mask], example.input_ids)
        assert (batch["input_ids"][row, ~mask] == PAD).all()
        if side == "right":
            assert torch.equal(batch["labels"][row, mask], example.labels)
            assert (batch["labels"][row, ~mask] == IGNORE_INDEX).all()
            assert torch.equal(batch["position_ids"][:, row, mask], example.position_ids)
    assert torch.equal(batch["mm_token_type_ids"] == 1, batch["input_ids"] == image_id(examples))
    assert torch.equal(batch["pixel_values"], torch.cat([e.pixel_values for e in examples]))
    assert torch.equal(batch["image_grid_thw"], torch.cat([e.image_grid_thw for e in examples]))


def test_generation_works_out_its_own_positions(examples: list[Example]) -> None:
    batch = collate(examples, image_id(examples), "left")
    assert "position_ids" not in batch
    assert "labels" not in batch


@torch.no_grad()
def hidden_states(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    states: Tensor = model.model(**inputs, use_cache=False).last_hidden_state
    return states


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_hidden_state(
    tiny_model: PreTrainedModel, examples: list[Example], side: Literal["left", "right"]
) -> None:
    placeholder = image_id(examples)
    batch = collate(examples, placeholder, side)
    together = hidden_states(tiny_model, batch)
    for row, example in enumerate(examples):
        alone = hidden_states(tiny_model, collate([example], placeholder, "right"))[0]
        mask = batch["attention_mask"][row].bool()
        torch.testing.assert_close(together[row, mask], alone, rtol=1e-5, atol=1e-5)
