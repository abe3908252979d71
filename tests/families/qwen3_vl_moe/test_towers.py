import pytest

from coordexp.families.qwen3_vl_moe.family import QWEN3_VL_MOE
from coordexp.families.towers import Tower, tower_of, unknown_layers, unknown_matrices

LAYER = "model.language_model.layers.0"


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "module."])
@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("model.visual.deepstack_merger_list.0.linear_fc1.weight", "aligner"),
        ("model.visual.blocks.0.mlp.linear_fc1.weight", "vision"),
        (f"{LAYER}.mlp.experts.gate_up_proj", "language"),
        (f"{LAYER}.mlp.experts.base_layer.lora_A.default.weight", "language"),
        (f"{LAYER}.mlp.gate.weight", "language"),
    ],
)
def test_a_parameter_belongs_to_its_tower(prefix: str, name: str, tower: Tower) -> None:
    assert tower_of(prefix + name, QWEN3_VL_MOE.towers) == tower


def test_its_experts_and_routers_are_known_and_no_other_matrices() -> None:
    known = [
        f"{LAYER}.mlp.experts.gate_up_proj",
        f"{LAYER}.mlp.experts.down_proj",
        f"{LAYER}.mlp.gate.weight",
    ]
    strange = [
        f"{LAYER}.mlp.experts.gate_up_proj_bias",
        f"{LAYER}.mlp.shared_experts.down_proj",
        f"{LAYER}.mlp.aggregate.weight",
        "model.visual.blocks.0.mlp.experts.down_proj",
    ]
    assert unknown_matrices([*known, *strange], QWEN3_VL_MOE.towers) == strange


def test_layers_without_experts_have_qwen3_vl_s_mlp() -> None:
    assert not unknown_layers([f"{LAYER}.mlp.gate_proj"], QWEN3_VL_MOE.towers)
