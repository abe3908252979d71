import pytest

from coordexp.families.qwen3_5_moe.family import QWEN3_5_MOE
from coordexp.families.towers import Tower, tower_of, unknown_layers, unknown_matrices

LAYER = "model.language_model.layers.0"


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "module."])
@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("model.visual.merger.linear_fc1.weight", "aligner"),
        ("model.visual.blocks.0.mlp.linear_fc1.weight", "vision"),
        (f"{LAYER}.mlp.experts.gate_up_proj", "language"),
        (f"{LAYER}.mlp.experts.base_layer.lora_A.default.weight", "language"),
        (f"{LAYER}.mlp.shared_expert.up_proj.weight", "language"),
        (f"{LAYER}.mlp.shared_expert_gate.weight", "language"),
        (f"{LAYER}.linear_attn.A_log", "language"),
        ("mtp.layers.0.mlp.experts.0.down_proj.weight", None),
    ],
)
def test_a_parameter_belongs_to_its_tower(prefix: str, name: str, tower: Tower | None) -> None:
    assert tower_of(prefix + name, QWEN3_5_MOE.towers) == tower


def test_its_experts_and_routers_are_known_and_no_other_matrices() -> None:
    known = [
        f"{LAYER}.mlp.experts.gate_up_proj",
        f"{LAYER}.mlp.experts.down_proj",
        f"{LAYER}.mlp.gate.weight",
    ]
    strange = [
        f"{LAYER}.mlp.shared_expert.experts.bias",
        f"{LAYER}.mlp.shared_experts.down_proj",
        f"{LAYER}.linear_attn.aggregate.weight",
        "model.visual.blocks.0.mlp.experts.down_proj",
    ]
    assert unknown_matrices([*known, *strange], QWEN3_5_MOE.towers) == strange


def test_the_shared_expert_and_its_gate_are_linear_layers_as_those_with_states() -> None:
    known = [f"{LAYER}.mlp.shared_expert.{leaf}" for leaf in ("gate_proj", "up_proj", "down_proj")]
    known += [f"{LAYER}.mlp.shared_expert_gate", f"{LAYER}.linear_attn.in_proj_qkv"]
    strange = [f"{LAYER}.mlp.gate", f"{LAYER}.mlp.experts.0.gate"]
    assert unknown_layers([*known, *strange], QWEN3_5_MOE.towers) == strange
