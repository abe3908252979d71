"""What holds where ms-swift is not installed."""

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.config.load import dump_config
from coordexp.data.contract.chat import Chat, Message
from coordexp.data.contract.record import Record
from coordexp.errors import ConfigError, InputError, RecordError
from coordexp.integrations.ms_swift import settings
from coordexp.integrations.ms_swift.messages import messages_of
from coordexp.integrations.ms_swift.refusals import check_ms_swift
from coordexp.integrations.ms_swift.settings import (
    CONFIG_VARIABLE,
    arguments_of_config,
    check_host,
    config_of_arguments,
)
from coordexp.rendering.encode import Encoder
from coordexp.training.run import host
from tests.integrations.conftest import MakeConfig

FROZEN = {"freeze_vit": True, "freeze_aligner": True, "freeze_llm": True}
PACKED = {"packing": True, "global_max_length": 512, "per_device_eval_batch_size": 1}


def test_the_plugin_is_a_file() -> None:
    result = CliRunner().invoke(app, ["swift", "plugin"])
    assert result.exit_code == 0
    assert Path(result.stdout.strip()).is_file()


@pytest.mark.parametrize(
    ("found", "expected"),
    [(None, "not installed"), ("4.5.2", "4.5.2 is not supported"), ("5.0.0", "4.6 is")],
)
def test_an_absent_or_unknown_ms_swift_is_named(
    found: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "version", lambda _: installed(found))
    with pytest.raises(InputError, match=expected) as caught:
        check_ms_swift()
    assert "pip install" in str(caught.value)


def test_every_release_of_the_supported_version_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "version", lambda _: "4.6.3")
    check_ms_swift()


def test_train_says_that_the_host_is_missing(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "version", lambda _: installed(None))
    file = tmp_path / "run.yaml"
    file.write_text(dump_config(make_config(tmp_path / "run")))
    result = CliRunner().invoke(app, ["train", "--config", str(file)])
    assert result.exit_code == 2
    assert "ms-swift is not installed" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tuner": {"train_type": "full"}}, "train_type"),
        ({"tuner": FROZEN}, "coord offsets alone"),
        ({"custom": {"object_ordering": "random"}}, "object_ordering"),
        ({"custom": {"instability_monitor": {"enabled": True}}}, "instability_monitor"),
        ({"training": PACKED}, "flash attention"),
    ],
)
def test_what_ms_swift_cannot_follow_is_refused(
    changes: dict[str, dict[str, Any]], expected: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    check_host(make_config(tmp_path))
    with pytest.raises(InputError, match=expected):
        check_host(make_config(tmp_path, **changes))


def test_a_family_whose_layers_carry_a_state_on_is_refused(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_5"}))
    with pytest.raises(InputError, match="models of qwen3_5 need host: plain: their linear_attn"):
        check_host(make_config(tmp_path / "run", model={"path": str(tmp_path)}))


def test_weights_of_a_mix_are_refused(make_config: MakeConfig, scenes: Path) -> None:
    mix = {"train": None, "mix": [{"path": str(scenes), "weight": 2.0}]}
    with pytest.raises(InputError, match=r"data\.mix"):
        check_host(make_config(Path("unused"), data=mix))


def test_the_same_names_mean_the_same(make_config: MakeConfig) -> None:
    config = make_config(Path("unused"), training={"effective_batch_size": 6, **SIX})
    given = arguments_of_config(config, train=Path("t"), held_out=None, world_size=2)
    assert given["gradient_accumulation_steps"] == 3
    assert given["model_type"] == "qwen3_vl"
    assert given["torch_dtype"] == "float32"
    assert given["learning_rate"] == config.training.learning_rate
    assert given["val_dataset"] == []


SIX = {"gradient_accumulation_steps": None}


@pytest.fixture
def swift_arguments(tiny_expanded: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(settings, "_pixels", lambda _: (1024, 65536))
    return SimpleNamespace(
        model_dir=str(tiny_expanded),
        torch_dtype="torch.bfloat16",
        use_dora=True,
        lora_rank=8,
        lora_alpha=32,
        lora_dropout=0.05,
        target_modules=["all-linear"],
        freeze_vit=True,
        freeze_aligner=True,
        freeze_llm=False,
        output_dir="out",
        learning_rate=1e-4,
        vit_lr=None,
        aligner_lr=None,
        weight_decay=0.1,
        seed=42,
        dataset=["a.jsonl", "b.jsonl"],
    )


def test_a_command_line_alone_is_the_recipe_of_the_spec(
    swift_arguments: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    config = config_of_arguments(swift_arguments)
    assert config.custom.coord_soft_ce_w1.enabled
    assert config.custom.coord_offset.enabled
    assert config.tuner.use_dora
    assert config.model.dtype == "bfloat16"
    assert [part.path.name for part in config.data.parts] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: {learning_rate: 0.1}", r"training\.learning_rate: swift sft takes this from"),
        ("custom: {coord_ofset: {}}", "did you mean 'coord_offset'"),
    ],
)
def test_keys_that_would_not_hold_are_an_error(
    text: str,
    expected: str,
    swift_arguments: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "coord.yaml").write_text(text)
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "coord.yaml"))
    with pytest.raises(ConfigError, match=expected):
        config_of_arguments(swift_arguments)


def test_tags_of_ms_swift_in_a_text_are_refused(encoder: Encoder) -> None:
    record = Record(images=("a.png",), width=8, height=8, objects=(), prompt="Find <bbox>.")
    with pytest.raises(RecordError, match="<bbox>"):
        messages_of(record, encoder)
    chat = Chat(messages=(Message("user", "Hello"), Message("assistant", "An <image>?")), images=())
    with pytest.raises(RecordError, match="<image>"):
        messages_of(chat, encoder)


def installed(found: str | None) -> str:
    if found is None:
        raise PackageNotFoundError
    return found


def test_packages_that_cannot_be_loaded_are_found_before_anything_is_written(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "version", lambda _: "4.6.1")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    file = tmp_path / "run.yaml"
    file.write_text(dump_config(make_config(tmp_path / "run")))
    result = CliRunner().invoke(app, ["train", "--config", str(file)])
    assert result.exit_code == 2
    assert "torchvision, which ms-swift needs" in result.stderr
    assert not (tmp_path / "run").exists()
