import pytest
import torch
from torch import nn

from coordexp.model.coord_offset import OffsetHead, install_coord_offset_adapter
from coordexp.model.hidden_head import SwitchableHead, emitting_hidden_states, install_loss_head
from tests.model.small import small_model

TOKENS = torch.tensor([[5, 60, 7]])


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("offsets", [True, False])
@torch.no_grad()
def test_hidden_states_pass_through_inside_the_block_alone(tied: bool, offsets: bool) -> None:
    model = small_model(tied=tied)
    if offsets:
        install_coord_offset_adapter(model, coord_ids=range(60, 80), tie_head=True)
    names = set(model.state_dict())
    logits = model(TOKENS).logits
    head = install_loss_head(model)
    assert isinstance(head, OffsetHead if offsets else SwitchableHead)
    assert model.get_output_embeddings() is head
    assert torch.equal(model(TOKENS).logits, logits)
    with emitting_hidden_states(head):
        hidden = model(TOKENS).logits
    assert torch.equal(hidden, model.model(TOKENS).last_hidden_state)
    assert torch.equal(head(hidden), logits)
    assert set(model.state_dict()) == names
    assert (head.weight is model.get_input_embeddings().weight) == tied


def test_installing_twice_is_installing_once() -> None:
    model = small_model()
    assert install_loss_head(model) is install_loss_head(model)


def test_the_head_is_ordinary_again_after_an_error() -> None:
    head = install_loss_head(small_model())
    with pytest.raises(KeyError), emitting_hidden_states(head):
        raise KeyError
    assert not head.emits_hidden


@pytest.mark.parametrize("head", [nn.Linear(32, 96, bias=True), nn.Identity()])
def test_an_unknown_head_is_refused(head: nn.Module) -> None:
    model = small_model()
    model.set_output_embeddings(head)
    with pytest.raises(TypeError, match="expected a linear head without bias"):
        install_loss_head(model)
