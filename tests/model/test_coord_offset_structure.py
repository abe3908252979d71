from copy import deepcopy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

import coordexp
from coordexp.errors import CheckpointError
from coordexp.model.coord_offset import (
    ADAPTER_NAME,
    OffsetEmbedding,
    OffsetHead,
    OffsetTable,
    find_offset_head,
    install_coord_offset_adapter,
    reattach_coord_offset_hooks,
)
from tests.model.small import small_model
from tests.model.test_coord_offset import Setup, base_of, every_setup, randomize, tables

ROWS, IDS = 96, range(60, 80)
TOKENS = torch.tensor([[5, 60, 61, 7, 79, 80, 59, 70, 9]])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("tie_head", [True, False])
def test_ties_survive_and_nothing_is_held_twice(tied: bool, tie_head: bool) -> None:
    model = small_model(rows=ROWS, tied=tied)
    install_coord_offset_adapter(model, coord_ids=IDS, tie_head=tie_head)
    model.tie_weights()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(embedding, OffsetEmbedding)
    assert isinstance(head, OffsetHead)
    assert (head.weight is embedding.weight) == tied
    assert head.embedding is embedding
    assert not any(isinstance(child, OffsetEmbedding) for child in head.modules())
    held = [name for name in model.state_dict() if ADAPTER_NAME in name]
    assert len(held) == (1 if tie_head else 2)


def test_a_deep_copy_has_a_table_of_its_own() -> None:
    model = Setup(tied=True, tie_head=True, lora="none").model()
    twin = deepcopy(model)
    randomize(twin)
    head, other = find_offset_head(model), find_offset_head(twin)
    assert head is not None
    assert other is not None
    assert (head.offsets() == 0).all()
    assert torch.equal(other.offsets(), tables(twin)["embedding"])
    assert other.embedding is twin.get_input_embeddings()


def test_without_the_adapter_nothing_is_found() -> None:
    model = small_model(rows=ROWS)
    assert find_offset_head(model) is None
    with pytest.raises(CheckpointError, match="no coord-offset adapter"):
        reattach_coord_offset_hooks(model)


# --- refusals ---


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "expected the ids of the coord tokens, got none"),
        ([60, 62, 63], "contiguous and in bin order"),
        ([62, 61, 60], "contiguous and in bin order"),
        (range(90, 97), "do not fit the model's 96 vocabulary rows; expand the base"),
        (range(-2, 3), "do not fit"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: list[int], message: str) -> None:
    model = small_model(rows=ROWS)
    with pytest.raises(CheckpointError, match=message):
        install_coord_offset_adapter(model, coord_ids=ids, tie_head=True)
    assert type(model.get_input_embeddings()) is nn.Embedding
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_second_installation_is_refused() -> None:
    model = Setup(tied=True, tie_head=True, lora="none").model()
    with pytest.raises(CheckpointError, match="installed already"):
        install_coord_offset_adapter(base_of(model), coord_ids=IDS, tie_head=True)


def test_a_wrapped_vocabulary_is_refused() -> None:
    model = small_model(rows=ROWS)
    model.set_output_embeddings(nn.Sequential(model.lm_head))
    with pytest.raises(CheckpointError, match="needs a plain embedding and head"):
        install_coord_offset_adapter(model, coord_ids=IDS, tie_head=True)


def test_model_and_ids_are_enough() -> None:
    model = small_model(rows=ROWS)
    coordexp.install_coord_offset_adapter(model, coord_ids=list(IDS))
    head = find_offset_head(model)
    assert head is not None
    assert head.is_tied
    coordexp.reattach_coord_offset_hooks(model)


# --- the check that nothing was left out ---


@every_setup
def test_the_table_in_use_is_the_one_that_learns(setup: Setup) -> None:
    model = setup.model()
    reattach_coord_offset_hooks(model)
    with torch.no_grad():
        reattach_coord_offset_hooks(model)


@pytest.mark.parametrize("tie_head", [True, False])
def test_a_table_left_out_of_the_forward_pass_is_found(tie_head: bool) -> None:
    model = Setup(tied=True, tie_head=tie_head, lora="lora").model()
    embedding = base_of(model).get_input_embeddings()
    embedding.coord_offset_adapter = embedding.coord_offset_adapter.original_module
    stray = OffsetTable(len(IDS), 32, dtype=torch.float32, device=torch.device("cpu"))
    base_of(model).register_module("coord_offset_adapter_of_nobody", stray)
    with pytest.raises(CheckpointError, match="is not the one that the"):
        reattach_coord_offset_hooks(model)


def test_a_vocabulary_that_learns_beside_its_offsets_is_found() -> None:
    model = Setup(tied=False, tie_head=True, lora="lora").model()
    base_of(model).lm_head.base.weight.requires_grad = True
    with pytest.raises(CheckpointError, match=r"lm_head\.base\.weight is trainable"):
        reattach_coord_offset_hooks(model)


@pytest.mark.parametrize("tie_head", [True, False])
def test_lora_that_learns_without_its_tables_is_found(tie_head: bool) -> None:
    """What PEFT makes of a model whose tables nobody has named for it: it freezes them."""
    model = small_model(rows=ROWS)
    install_coord_offset_adapter(model, coord_ids=IDS, tie_head=tie_head)
    adapted = get_peft_model(model, LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(
        CheckpointError, match=r"learns, and no coord-offset table does.*modules_to"
    ):
        reattach_coord_offset_hooks(adapted)


def test_a_model_in_which_nothing_learns_is_in_order() -> None:
    model = Setup(tied=True, tie_head=True, lora="none").model()
    reattach_coord_offset_hooks(model.requires_grad_(False))
