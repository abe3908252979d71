from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from coordexp.errors import CheckpointError
from coordexp.export.lora_layer import merge_lora_layer
from coordexp.export.saved_adapter import load_saved_adapter
from coordexp.model.shards import StoredTensor

NAME = "model.layers.3.q_proj"
ROWS, WIDTH = 24, 16


class Whole(nn.Module):
    """A model with one adapted layer, and another of the same last name that has none."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.layers = nn.ModuleDict({"3": nn.ModuleDict({"q_proj": nn.Linear(WIDTH, ROWS)})})


def merged_by_peft(
    config: LoraConfig, dst: Path
) -> tuple[Tensor, Tensor, dict[str, StoredTensor], LoraConfig]:
    """Return a weight, what PEFT makes of it, and the adapter as saved."""
    torch.manual_seed(0)
    model = get_peft_model(Whole(), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    layer = model.base_model.model.get_submodule(NAME)
    before = layer.get_base_layer().weight.detach().clone()
    model.save_pretrained(dst)
    layer.merge()
    saved = load_saved_adapter(dst)
    return before, layer.get_base_layer().weight.detach(), saved.layers[NAME], saved.config


@pytest.mark.filterwarnings("ignore:Unable to fetch")
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"rank_pattern": {"3.q_proj": 5}}])
@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("rows_at_once", [1, 5, ROWS])
def test_blocks_of_rows_are_the_whole(
    options: dict, use_dora: bool, rows_at_once: int, tmp_path: Path
) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"], use_dora=use_dora, **options)
    before, expected, leaves, config = merged_by_peft(config, tmp_path)
    assert not torch.allclose(before, expected, atol=0.01)
    merged = merge_lora_layer(
        NAME, before.clone(), leaves, config, block_bytes=4 * WIDTH * rows_at_once
    )
    torch.testing.assert_close(merged, expected, atol=1e-6, rtol=1e-6)


def test_rounding_happens_once(tmp_path: Path) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"])
    before, _, leaves, config = merged_by_peft(config, tmp_path)
    stored = before.bfloat16()
    exact = merge_lora_layer(NAME, stored.float(), leaves, config)
    assert torch.equal(merge_lora_layer(NAME, stored.clone(), leaves, config), exact.bfloat16())


def test_an_initialisation_that_changes_the_base_is_not_repeated(tmp_path: Path) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"])
    before, expected, leaves, config = merged_by_peft(config, tmp_path)
    config.init_lora_weights = "pissa"
    torch.testing.assert_close(merge_lora_layer(NAME, before.clone(), leaves, config), expected)


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"])
    before, _, leaves, config = merged_by_peft(config, tmp_path)
    before[3, 4] = torch.inf
    with pytest.raises(CheckpointError, match=f"{NAME}: PEFT cannot merge its adapter: NaNs"):
        merge_lora_layer(NAME, before, leaves, config)


def test_a_magnitude_without_dora_is_refused(tmp_path: Path) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"], use_dora=True)
    before, _, leaves, config = merged_by_peft(config, tmp_path)
    config.use_dora = False
    with pytest.raises(CheckpointError, match="PEFT expects other adapter tensors"):
        merge_lora_layer(NAME, before, leaves, config)


def test_dora_without_its_magnitude_is_refused(tmp_path: Path) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj"], use_dora=True)
    before, _, leaves, config = merged_by_peft(config, tmp_path)
    del leaves["lora_magnitude_vector"]
    with pytest.raises(CheckpointError, match=NAME):
        merge_lora_layer(NAME, before, leaves, config)
