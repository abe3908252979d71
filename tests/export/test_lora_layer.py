from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn

from coordexp.errors import CheckpointError, CoordExpError
from coordexp.export.exact_lora import expert_factors
from coordexp.export.lora_layer import merge_expert_stack, merge_lora_layer
from coordexp.export.saved_adapter import load_saved_adapter
from coordexp.model.shards import StoredTensor, read_shard

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


# --- experts ---

STACK, EXPERTS = "model.layers.3.mlp.experts.down_proj", 3


def stack_adapter(file: Path, **columns: int) -> dict[str, StoredTensor]:
    """Return tensors as an adapter of a stack has them, of so many rows or ranks each."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "lora_A.weight": torch.randn(columns["a"], WIDTH, generator=generator),
        "lora_B.weight": torch.randn(ROWS, columns["b"], generator=generator),
    }
    save_file(tensors, file)
    return {tensor.name: tensor for tensor in read_shard(file)[0]}


@pytest.mark.parametrize("is_turned", [False, True])
def test_each_expert_gets_its_own_part_of_an_adapter(is_turned: bool, tmp_path: Path) -> None:
    leaves = stack_adapter(tmp_path / "a.safetensors", a=2 * EXPERTS, b=2 * EXPERTS)
    down, up = (leaves[leaf].load() for leaf in ("lora_A.weight", "lora_B.weight"))
    before = torch.randn(EXPERTS, ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    expected = before.clone()
    for expert in range(EXPERTS):
        expected[expert] += 4 * up[:, expert::EXPERTS] @ down[2 * expert : 2 * expert + 2]
    stored = before.transpose(1, 2).contiguous() if is_turned else before
    config = LoraConfig(r=2, lora_alpha=8)
    merged = merge_expert_stack(STACK, stored, leaves, config, is_turned=is_turned)
    found = merged.transpose(1, 2) if is_turned else merged
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("a", "b", "ranks"), [(7, 7, "7 and 7"), (6, 3, "6 and 3")], ids=["no equal parts", "uneven"]
)
def test_an_adapter_without_a_part_for_each_expert_is_refused(
    a: int, b: int, ranks: str, tmp_path: Path
) -> None:
    """By what merges and by what reads back, each of which counts by itself."""
    leaves = stack_adapter(tmp_path / "a.safetensors", a=a, b=b)
    with pytest.raises(CheckpointError, match=f"{STACK}: 3 experts, and an adapter of {ranks}"):
        merge_expert_stack(
            STACK, torch.zeros(3, ROWS, WIDTH), leaves, LoraConfig(), is_turned=False
        )
    tensors = {leaf: tensor.load() for leaf, tensor in leaves.items()}
    with pytest.raises(CoordExpError, match=f"{STACK}: its adapter has {ranks} ranks, for 3"):
        expert_factors(STACK, tensors, {"lora_alpha": 8}, experts=3, is_turned=False)


def test_experts_take_no_dora(tmp_path: Path) -> None:
    leaves = stack_adapter(tmp_path / "a.safetensors", a=EXPERTS, b=EXPERTS)
    leaves["lora_magnitude_vector"] = leaves["lora_A.weight"]
    with pytest.raises(CheckpointError, match=r"expected LoRA of experts, got .*magnitude"):
        merge_expert_stack(
            STACK, torch.zeros(3, ROWS, WIDTH), leaves, LoraConfig(), is_turned=False
        )
