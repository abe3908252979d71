import re

import pytest
from peft.tuners.lora import LoraLayer

from coordexp.errors import InputError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.families.towers import Tower, tower_of
from coordexp.model.adapters import install_lora, lora_target_pattern
from coordexp.model.coord_offset import install_coord_offset_adapter
from tests.model.small import small_model

EVERYTHING: tuple[Tower, ...] = ("vision", "aligner", "language")


def adapted_modules(towers: tuple[Tower, ...], leaves: tuple[str, ...] | None = None) -> list[str]:
    model = small_model()
    install_coord_offset_adapter(model, coord_ids=range(60, 80), tie_head=True)
    adapted = install_lora(
        model,
        family=QWEN3_VL,
        towers=towers,
        leaves=leaves,
        experts=False,
        rank=2,
        alpha=4,
        dropout=0.0,
        use_dora=False,
    )
    return [name for name, module in adapted.named_modules() if isinstance(module, LoraLayer)]


@pytest.mark.parametrize(
    ("towers", "count"),
    [
        # two vision blocks of four layers, two mergers of two, two language layers of seven
        (("vision",), 8),
        (("aligner",), 4),
        (("language",), 14),
        (EVERYTHING, 26),
    ],
)
def test_every_linear_layer_of_the_unfrozen_towers_is_adapted(
    towers: tuple[Tower, ...], count: int
) -> None:
    names = adapted_modules(towers)
    assert len(names) == count
    assert {tower_of(f"{name}.weight", QWEN3_VL.towers) for name in names} == set(towers)
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_leaves_choose_among_them() -> None:
    names = adapted_modules(EVERYTHING, ("q_proj", "qkv"))
    assert {name.rsplit(".", 1)[-1] for name in names} == {"q_proj", "qkv"}
    assert len(names) == 4


def test_no_pattern_reaches_the_vocabulary() -> None:
    pattern = re.compile(lora_target_pattern(QWEN3_VL.towers, EVERYTHING, None))
    for name in (
        "lm_head",
        "lm_head.base",
        "model.language_model.embed_tokens",
        "model.language_model.embed_tokens.base",
        "model.visual.patch_embed.proj",
        "model.visual.pos_embed",
    ):
        assert not pattern.fullmatch(name)


@pytest.mark.parametrize(
    ("towers", "leaves", "message"),
    [
        ((), None, "every part is frozen"),
        (("language",), ("qkv",), "qkv name no linear layer of the unfrozen parts; known: down_"),
        (EVERYTHING, ("q_proj", "lm_head", "wq"), "lm_head, wq name no linear layer"),
    ],
)
def test_what_would_adapt_nothing_is_refused(
    towers: tuple[Tower, ...], leaves: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        lora_target_pattern(QWEN3_VL.towers, towers, leaves)


def test_without_offsets_nothing_else_is_saved() -> None:
    adapted = install_lora(
        small_model(),
        family=QWEN3_VL,
        towers=("language",),
        leaves=None,
        experts=False,
        rank=2,
        alpha=4,
        dropout=0.0,
        use_dora=True,
    )
    assert adapted.peft_config["default"].modules_to_save is None
    assert all("lora_" in name for name, p in adapted.named_parameters() if p.requires_grad)
