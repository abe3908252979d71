import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn
from transformers import get_scheduler

from coordexp.config.schema import Config
from coordexp.config.training import Scheduler
from coordexp.errors import InputError
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.training.loop.optimizer import (
    TABLE_NAME,
    group_parameters,
    ignored_rates,
    optimizer_table,
    parameter_groups,
    table_text,
    write_table,
)

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
    rows = group_parameters(module_with(names), parameter_groups(config, QWEN3_VL))
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
    assert group_parameters(frozen, parameter_groups(make_config(tmp_path), QWEN3_VL))


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


def test_without_offsets_the_groups_are_the_same_less_the_offsets(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with_offsets = parameter_groups(make_config(tmp_path, training=RATES), QWEN3_VL)
    without = parameter_groups(
        make_config(
            tmp_path,
            training=RATES | {"optimizer": "multimodal"},
            custom={"coord_offset": {"enabled": False}},
        ),
        QWEN3_VL,
    )
    assert [group.name for group in with_offsets] == [
        "coord_embed",
        *(group.name for group in without),
    ]
    assert with_offsets[1:] == without


def test_an_offset_table_without_its_group_is_an_error(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(
        tmp_path,
        training={"optimizer": "multimodal"},
        custom={"coord_offset": {"enabled": False}},
    )
    with pytest.raises(InputError, match=r"coord_offset_adapter.* belongs to no group"):
        table(config, TIED)


def test_the_first_group_that_matches_takes_a_parameter(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    """The offsets lie below the language model, the merger below the vision tower."""
    model = module_with(TIED | {HEAD: 2})
    offset = {"enabled": True, "tie_head": False}
    groups = parameter_groups(make_config(tmp_path, custom={"coord_offset": offset}), QWEN3_VL)
    places: dict[str, list[str]] = {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for row in group_parameters(model, groups):
        places.setdefault(str(row["name"]), []).extend(names[id(p)] for p in row["params"])  # type: ignore[attr-defined]
    assert sum(map(len, places.values())) == len(names)
    assert places["coord_embed"] == [name for name in TIED if "embed_tokens" in name]
    assert places["coord_head"] == [HEAD]
    assert all("merger" in name for name in places["aligner"])


# --- the table ---


def test_the_table_says_who_learns_and_how_fast(make_config: MakeConfig, tmp_path: Path) -> None:
    model = module_with(TIED)
    rows = optimizer_table(model, parameter_groups(make_config(tmp_path, training=RATES), QWEN3_VL))
    # Matrices here have four numbers, vectors two.
    assert table_text(rows).splitlines() == [
        "group          rate           decay  tensors  parameters",
        "coord_embed   0.005               0        1           4",
        "aligner       3e-05             0.1        2           8",
        "vision        2e-05             0.1        1           4",
        "language     0.0001  0.1, vectors 0        2           6",
    ]
    write_table(rows, tmp_path)
    written = json.loads((tmp_path / TABLE_NAME).read_text())
    assert written[0] == {
        "group": "coord_embed",
        "lr": 5e-3,
        "weight_decay": 0.0,
        "tensors": 1,
        "parameters": 4,
    }
    assert sum(row["parameters"] for row in written) == sum(
        parameter.numel() for parameter in model.parameters()
    )


def test_rates_that_drive_nothing_are_named(make_config: MakeConfig, tmp_path: Path) -> None:
    assert ignored_rates(make_config(tmp_path, training=RATES)) == ()
    config = make_config(
        tmp_path,
        training=RATES,
        tuner={"freeze_vit": True, "freeze_aligner": True},
        custom={"coord_offset": {"enabled": True, "tie_head": True, "head_lr": 1e-3}},
    )
    assert [note.split(" is ignored")[0] for note in ignored_rates(config)] == [
        "custom.coord_offset.head_lr",
        "training.vit_lr",
        "training.aligner_lr",
    ]
    assert "coord_head" not in {group.name for group in parameter_groups(config, QWEN3_VL)}
    two = make_config(tmp_path, custom={"coord_offset": {"enabled": True, "tie_head": False}})
    assert ignored_rates(two) == ()


@pytest.mark.parametrize("kind", get_args(Scheduler))
def test_schedules_keep_each_group_s_ratio(
    make_config: MakeConfig, tmp_path: Path, kind: str
) -> None:
    groups = group_parameters(
        module_with(TIED), parameter_groups(make_config(tmp_path, training=RATES), QWEN3_VL)
    )
    peak = torch.tensor([row["lr"] for row in groups])
    optimizer = torch.optim.AdamW(groups, lr=1e-4)
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=3, num_training_steps=10)
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        rates = torch.tensor([group["lr"] for group in optimizer.param_groups])
        assert rates[0] > 0
        torch.testing.assert_close(rates / rates[0], peak / peak[0])
