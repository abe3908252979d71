"""Layers with states: packs, borders, and what would happen without what is installed."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from coordexp.errors import CheckpointError
from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.recurrent_layers import (
    check_recurrent_layers,
    example_lengths,
    install_recurrent_layers,
    recurrent_layers,
)
from tests.families.tiny_recurrent import random_qwen3_5, small_qwen3_5_config
from tests.model.small import small_model

LENGTHS = (5, 70, 1, 2)  # more and fewer tokens than a chunk and a convolution take


def plain_model() -> PreTrainedModel:
    return random_qwen3_5(small_qwen3_5_config(rows=96, tied=True)).eval()


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    model = plain_model()
    install_recurrent_layers(model, QWEN3_5.recurrent)
    return model


def tokens(lengths: Sequence[int]) -> list[Tensor]:
    ids = torch.randint(90, (sum(lengths),), generator=torch.Generator().manual_seed(0))
    return list(ids.split(list(lengths)))


def packed(lengths: Sequence[int]) -> Tensor:
    places = torch.cat([torch.arange(length) for length in lengths])
    return places.expand(4, 1, -1)


def states(model: PreTrainedModel, examples: Sequence[Tensor], **more: Tensor) -> Tensor:
    """Return the hidden states of examples in one row."""
    positions = packed([len(example) for example in examples])
    with torch.no_grad():
        found: Tensor = model.model(
            input_ids=torch.cat(list(examples))[None],
            position_ids=positions,
            use_cache=False,
            **more,
        ).last_hidden_state
    return found[0]


@pytest.mark.parametrize("order", [LENGTHS, LENGTHS[::-1], (1, 1, 1)])
def test_each_example_is_what_it_is_alone(model: PreTrainedModel, order: Sequence[int]) -> None:
    examples = tokens(order)
    together = states(model, examples).split(list(order))
    for example, found in zip(examples, together, strict=True):
        torch.testing.assert_close(found, states(model, [example]), rtol=1e-5, atol=1e-5)


def test_without_it_examples_run_into_one_another_and_nobody_says_so() -> None:
    """The stand-ins for the kernels are given the borders here, and do not look at them."""
    examples = tokens(LENGTHS)
    borders = torch.tensor([0, *LENGTHS]).cumsum(0).int()
    row = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))[None].int()
    told = {"cu_seq_lens_q": borders, "cu_seq_lens_k": borders, "seq_idx": row}
    found = states(plain_model(), examples, **told)[-LENGTHS[-1] :]
    assert float((found - states(plain_model(), examples[-1:])).abs().max()) > 1e-3


def test_recomputed_activations_give_the_same_gradients(model: PreTrainedModel) -> None:
    def gradients(model: PreTrainedModel) -> list[Tensor]:
        model.zero_grad()
        out = model(
            input_ids=torch.cat(tokens(LENGTHS))[None],
            position_ids=packed(LENGTHS),
            use_cache=False,
        )
        out.logits.square().mean().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    again = copy.deepcopy(model).train()
    expected = gradients(again)
    again.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = gradients(again)
    assert len(found) == len(expected) > 40
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_names_classes_and_what_is_alone_stay_as_they_were(model: PreTrainedModel) -> None:
    before = plain_model()
    assert model.state_dict().keys() == before.state_dict().keys()
    kinds = [(type(module).__module__, type(module).__name__) for module in before.modules()]
    assert [(type(m).__module__, type(m).__name__) for m in model.modules()] == kinds
    assert recurrent_layers(model) == {0, 1, 2}
    assert recurrent_layers(before) == set()
    example = tokens([40])
    assert torch.equal(states(model, example), states(before, example))


def test_installing_it_twice_changes_nothing(model: PreTrainedModel) -> None:
    twice = copy.deepcopy(model)
    install_recurrent_layers(twice, QWEN3_5.recurrent)
    assert [type(module) for module in twice.modules()] == [type(m) for m in model.modules()]


def test_generation_from_a_padded_batch_is_that_of_each_prompt_alone(
    model: PreTrainedModel,
) -> None:
    prompts = tokens((9, 30))
    padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_side="left")
    mask = torch.tensor([[0] * 21 + [1] * 9, [1] * 30])

    def said(ids: Tensor, mask: Tensor) -> list[list[int]]:
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=8,
            min_new_tokens=8,
            do_sample=False,
            pad_token_id=0,
        )
        answers: list[list[int]] = out[:, ids.shape[1] :].tolist()
        return answers

    together = said(padded, mask)
    alone = [said(ids[None], torch.ones(1, len(ids)).long())[0] for ids in prompts]
    assert together == alone
    assert together[0] != together[1]


def test_layers_that_nobody_keeps_apart_are_refused(model: PreTrainedModel) -> None:
    """By whoever loads a model, and by whoever trains one that was loaded by other means."""
    with pytest.raises(CheckpointError, match="3 layers of linear_attention in which nothing"):
        install_recurrent_layers(plain_model(), ())
    with pytest.raises(CheckpointError, match=r"open it with coordexp\.model\.load\.load_base"):
        check_recurrent_layers(plain_model())
    check_recurrent_layers(model)
    check_recurrent_layers(small_model())


def test_several_rows_of_packs_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one row with all examples of a pack, got 2"):
        example_lengths(torch.tensor([[0, 1, 0], [0, 1, 2]]).expand(4, 2, -1))


@pytest.mark.parametrize(
    "positions",
    [
        torch.arange(4).expand(3, 1, -1),
        torch.arange(4).expand(4, 1, -1),
        torch.arange(4).expand(4, 2, -1),
        torch.tensor([[0, 1, 0, 1]]),
    ],
    ids=["three rows", "one example", "one each", "no text row"],
)
def test_what_is_no_pack_has_no_borders(positions: Tensor) -> None:
    assert example_lengths(positions) is None
