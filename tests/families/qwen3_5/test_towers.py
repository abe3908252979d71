import pytest

from coordexp.families.qwen3_5.family import QWEN3_5
from coordexp.families.towers import Tower, tower_of


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "module."])
@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("model.visual.merger.linear_fc1.weight", "aligner"),
        ("model.visual.merger.norm.bias", "aligner"),
        ("model.visual.pos_embed.weight", "vision"),
        ("model.visual.blocks.0.mlp.linear_fc2.bias", "vision"),
        ("model.language_model.layers.0.linear_attn.in_proj_qkv.weight", "language"),
        ("model.language_model.layers.0.linear_attn.out_proj.lora_A.default.weight", "language"),
        ("model.language_model.layers.0.linear_attn.conv1d.weight", "language"),
        ("model.language_model.layers.0.linear_attn.A_log", "language"),
        ("model.language_model.layers.3.self_attn.q_proj.weight", "language"),
        ("model.language_model.embed_tokens.weight", "language"),
        ("lm_head.weight", "language"),
        ("mtp.fc.weight", None),
    ],
)
def test_a_parameter_belongs_to_the_first_tower_that_matches(
    prefix: str, name: str, tower: Tower | None
) -> None:
    assert tower_of(prefix + name, QWEN3_5.towers) == tower
