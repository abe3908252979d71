from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.training.optimizer import group_parameters, parameter_groups

MakeConfig = Callable[..., Config]
RATES = {"learning_rate": 1e-4, "vit_lr": 2e-5, "aligner_lr": 3e-5, "weight_decay": 0.1}
PREFIX = "base_model.model.model."
TIED = {
    PREFIX + "language_model.embed_tokens.coord_offset_adapter.modules_to_save.default.rows": 2,
    PREFIX + "visual.blocks.0.attn.qkv.lora_A.default.weight": 2,
    PREFIX + "visual.merger.linear_fc1.lora_A.default.weight": 2,
    PREFIX + "visual.deepstack_merger_list.0.linear_fc1.lora_A.default.weight": 2,
    PREFIX + "language_model.layers.0.self_attn.q_proj.lora_A.default.weight": 2,
    PREFIX + "language_model.layers.0.self_attn.q_proj.lora_magnitude_vector.default.weight": 1,
}
HEAD = "base_model.model.lm_head.coord_offset_adapter.modules_to_save.default.rows"


def module_with(parameters: dict[str, int]) -> nn.Module:
    """Return a module whose parameters have these names and numbers of dimensions."""
    root = nn.Module()
    for name, ndim in parameters.items():
        *path, leaf = name.split(".")
        owner = root
        for step in path:
            if not hasattr(owner, step):
                owner.add_module(step, nn.Module())
            owner = owner.get_submodule(step)
        owner.register_parameter(leaf, nn.Parameter(torch.zeros((2,) * ndim)))
    return root


def table(config: Config, names: dict[str, int]) -> list[tuple[object, object, object, int]]:
    rows = group_parameters(module_with(names), parameter_groups(config))
    return [(row["name"], row["lr"], row["weight_decay"], len(row["params"])) for row in rows]


def test_each_part_has_its_rate_and_offsets_are_not_decayed(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path, training=RATES)
    assert table(config, TIED) == [
        ("coord_embed", 5e-3, 0.0, 1),
        ("aligner", 3e-5, 0.1, 2),
        ("vision", 2e-5, 0.1, 1),
        ("language", 1e-4, 0.1, 1),
        ("language", 1e-4, 0.0, 1),  # DoRA's magnitudes are vectors
    ]


def test_a_head_of_its_own_has_its_own_rate(make_config: MakeConfig, tmp_path: Path) -> None:
    offset = {"enabled": True, "tie_head": False, "embed_lr": 1e-2, "weight_decay": 0.2}
    names = TIED | {HEAD: 2}
    config = make_config(tmp_path, custom={"coord_offset": offset | {"head_lr": 2e-2}})
    assert table(config, names)[:2] == [
        ("coord_embed", 1e-2, 0.2, 1),
        ("coord_head", 2e-2, 0.2, 1),
    ]
    config = make_config(tmp_path, custom={"coord_offset": offset})
    assert table(config, names)[1] == ("coord_head", 1e-2, 0.2, 1)


def test_rates_fall_back_to_the_common_one(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tmp_path, custom={"coord_offset": {"enabled": True}})
    assert {lr for _, lr, _, _ in table(config, TIED)} == {1e-3}


def test_a_trainable_parameter_without_a_group_is_an_error(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"stray\.weight belongs to no group"):
        table(make_config(tmp_path), TIED | {"stray.weight": 2})
    frozen = module_with(TIED | {"stray.weight": 2})
    frozen.get_parameter("stray.weight").requires_grad_(False)
    assert group_parameters(frozen, parameter_groups(make_config(tmp_path)))


def test_a_group_without_a_parameter_is_an_error(make_config: MakeConfig, tmp_path: Path) -> None:
    names = {name: ndim for name, ndim in TIED.items() if "blocks" not in name}
    with pytest.raises(InputError, match=r"group vision matches no .* freeze"):
        table(make_config(tmp_path), names)
    assert table(make_config(tmp_path, tuner={"freeze_vit": True}), names)


def test_a_table_of_the_head_that_is_not_expected_does_not_pass_for_language(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"coord_offset_adapter.* belongs to no group"):
        table(make_config(tmp_path), TIED | {HEAD: 2})
