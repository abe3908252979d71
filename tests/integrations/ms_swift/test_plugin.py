"""`swift sft --external_plugins PATH`, as its users type it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from coordexp.errors import InputError
from coordexp.integrations.ms_swift.messages import write_messages
from coordexp.integrations.ms_swift.place import plugin_path
from coordexp.integrations.ms_swift.refusals import check_arguments
from coordexp.model.load import load_checkpoint, load_coord_vocab
from coordexp.rendering.encode import Encoder
from coordexp.training.run.build_feed import checked_records
from tests.integrations.conftest import MakeConfig

pytestmark = [pytest.mark.swift, pytest.mark.usefixtures("swift")]


@pytest.fixture(scope="module")
def command(
    make_config: MakeConfig, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """An ms-swift grounding command, offline, for a CPU."""
    out = tmp_path_factory.mktemp("plugin")
    config = make_config(out / "unused")
    samples = checked_records(config.data.parts, config)
    write_messages(samples, range(len(samples)), encoder, out / "train.jsonl", out / "pictures")
    return [
        *("--model", str(config.model.path), "--model_type", "qwen3_vl", "--check_model", "false"),
        *("--dataset", str(out / "train.jsonl"), "--val_dataset", str(out / "train.jsonl")),
        *("--torch_dtype", "float32", "--fp16", "false", "--bf16", "false", "--use_cpu", "true"),
        *("--attn_impl", "sdpa", "--report_to", "none", "--dataloader_num_workers", "0"),
        *("--output_dir", str(out / "run"), "--add_version", "false", "--lora_rank", "4"),
        *("--max_steps", "2", "--logging_steps", "1", "--save_steps", "2", "--eval_steps", "2"),
        *("--gradient_accumulation_steps", "2", "--gradient_checkpointing", "false"),
        *("--external_plugins", str(plugin_path())),
    ]


@pytest.fixture(scope="module")
def trained(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the command, the way our key was given to it."""
    from swift.pipelines import sft_main

    block = tmp_path_factory.mktemp("block") / "coord.yaml"
    block.write_text(
        "custom:\n"
        "  coord_tokens: {enabled: true}\n"
        "  coord_soft_ce_w1: {enabled: true, ce_weight: 1.0}\n"
        "  coord_offset: {enabled: true, tie_head: false, embed_lr: 0.001}\n"
        "  system_prompt: You point.\n"
        "  user_prompt: Find every digit.\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COORDEXP_CONFIG", str(block))
        return Path(sft_main(command)["last_model_checkpoint"])


def test_the_command_trains_with_our_objective(trained: Path) -> None:
    rows = json.loads((trained / "trainer_state.json").read_text())["log_history"]
    terms = {"loss", "ce", "soft_ce", "w1", "gate", "coord_vocab_mass", "coord_tokens", "p_gt"}
    assert {f"coord_diag/{term}" for term in terms} <= rows[0].keys()
    assert {f"eval_coord_diag/{term}" for term in terms} <= rows[-1].keys()
    first = rows[0]
    assert first["loss"] == pytest.approx(first["base_ce/loss"] + first["coord_diag/loss"])


def test_its_checkpoint_is_one_of_ours(trained: Path, make_config: MakeConfig) -> None:
    base = make_config(Path("unused")).model.path
    model = load_checkpoint(base, trained)
    names = [name for name, _ in model.named_parameters() if "coord_offset_adapter" in name]
    assert any("lm_head" in name for name in names)
    card = json.loads((trained / "coordexp.json").read_text())
    assert card["style"]["user_prompt"] == "Find every digit."
    assert card["weights"]["tie_head"] is False


def test_swift_export_refuses_to_merge_it(trained: Path, tmp_path: Path) -> None:
    from swift.pipelines import export_main

    export = ["--adapters", str(trained), "--merge_lora", "true", "--output_dir"]
    export += [str(tmp_path / "merged"), "--model_type", "qwen3_vl"]
    with pytest.raises(InputError, match="coordexp merge"):
        export_main(export)
    assert not (tmp_path / "merged").exists()


def test_without_the_plugin_swift_refuses_as_well(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from swift.pipelines import export_main
    from swift.tuner_plugin import tuners_map

    monkeypatch.delitem(tuners_map, "lora")
    export = ["--adapters", str(trained), "--merge_lora", "true", "--output_dir"]
    with pytest.raises(ValueError, match="load_with_coordexp"):
        export_main([*export, str(tmp_path / "merged"), "--model_type", "qwen3_vl"])


def test_swift_infer_loads_it_with_its_offsets(trained: Path, make_config: MakeConfig) -> None:
    from swift.arguments import InferArguments
    from swift.pipelines.utils import prepare_model_template

    base = make_config(Path("unused")).model.path
    args = InferArguments(adapters=[str(trained)], model_type="qwen3_vl", torch_dtype="float32")
    model, _ = prepare_model_template(args)
    ids = torch.tensor([list(load_coord_vocab(base, _alphabet()).ids[:4])])
    with torch.no_grad():
        expected = load_checkpoint(base, trained, dtype="float32").eval()(ids).logits
        torch.testing.assert_close(model.eval()(ids).logits, expected)


def test_without_a_file_the_recipe_of_the_spec_holds(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sft = _prepared(command)
    from coordexp.integrations.ms_swift.settings import config_of_arguments

    monkeypatch.delenv("COORDEXP_CONFIG", raising=False)
    config = config_of_arguments(sft.args)
    assert config.custom.coord_soft_ce_w1.enabled
    assert config.custom.coord_offset.enabled
    assert config.tuner.freeze_vit  # ms-swift's default


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"use_liger_kernel": True}, "bypasses the coord offsets"),
        ({"packing": True}, "see each other"),
        ({"padding_free": True}, "see each other"),
        ({"loss_type": "cross_entropy"}, "loss_type cross_entropy"),
        ({"optimizer": "muon"}, "optimizer muon"),
        ({"tuner_type": "full"}, "tuner_type full"),
        ({"streaming": True}, "streaming"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, "zero2"),
    ],
)
def test_what_bypasses_the_loss_is_refused(
    command: list[str], changes: dict[str, Any], expected: str
) -> None:
    sft = _prepared(command)
    check_arguments(sft.args, sft.template)
    for key, value in changes.items():
        setattr(sft.args, key, value)
    with pytest.raises(InputError, match=expected):
        check_arguments(sft.args, sft.template)


def test_weighted_tokens_are_refused(command: list[str]) -> None:
    sft = _prepared([*command, "--loss_scale", "hermes"])
    with pytest.raises(InputError, match="loss_scale"):
        check_arguments(sft.args, sft.template)


def _prepared(command: list[str]) -> Any:
    from swift.pipelines import SwiftSft

    return SwiftSft(command)


def _alphabet() -> Any:
    return sys.modules["coordexp.coord_tokens.codec"].SPEC_ALPHABET
