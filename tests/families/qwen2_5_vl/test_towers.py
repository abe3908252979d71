import pytest

from coordexp.families.qwen2_5_vl.family import QWEN2_5_VL
from coordexp.families.towers import Tower, tower_of


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "module."])
@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("model.visual.merger.mlp.0.weight", "aligner"),
        ("model.visual.merger.ln_q.weight", "aligner"),
        ("model.visual.patch_embed.proj.weight", "vision"),
        ("model.visual.blocks.0.mlp.gate_proj.bias", "vision"),
        ("model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight", "language"),
        ("model.language_model.embed_tokens.weight", "language"),
        ("lm_head.weight", "language"),
        ("model.audio.weight", None),
    ],
)
def test_a_parameter_belongs_to_the_first_tower_that_matches(
    prefix: str, name: str, tower: Tower | None
) -> None:
    assert tower_of(prefix + name, QWEN2_5_VL.towers) == tower
