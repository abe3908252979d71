import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coordexp.config.deepspeed import load_deepspeed
from coordexp.config.load import load_config
from coordexp.config.schema import Config
from coordexp.errors import ConfigError

WriteYaml = Callable[..., Path]
ROOT = Path(__file__).parents[2]
ZERO2 = ROOT / "configs" / "deepspeed" / "zero2.json"


def asks_for(write_yaml: WriteYaml, path: Path, more: str = "") -> Config:
    return load_config(write_yaml(f"deepspeed: {path}\n{more}"))


def test_without_the_key_there_is_no_deepspeed(write_yaml: WriteYaml) -> None:
    assert load_deepspeed(load_config(write_yaml(""))) is None


def test_the_shipped_file_is_stage_2_and_says_nothing_twice(write_yaml: WriteYaml) -> None:
    settings = load_deepspeed(asks_for(write_yaml, ZERO2))
    assert settings == json.loads(ZERO2.read_text())
    assert settings["zero_optimization"]["stage"] == 2  # type: ignore[index]


@pytest.mark.parametrize("size", ["2b", "4b", "8b"])
def test_every_configuration_for_eight_gpus_goes_with_it(size: str, write_yaml: WriteYaml) -> None:
    file = ROOT / "configs" / "stage1" / f"{size}_eight_gpus.yaml"
    text = f"extends: {file}\ndeepspeed: {ZERO2}\ndata: {{train: train.jsonl}}\n"
    config = load_config(write_yaml(text, complete=False))
    assert config.training.accumulation_steps(world_size=8) == 1
    assert load_deepspeed(config) is not None


def test_values_that_the_configuration_fills_in_are_left_to_it(
    write_yaml: WriteYaml, tmp_path: Path
) -> None:
    path = tmp_path / "ds.json"
    written = {"train_batch_size": "auto", "bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}
    path.write_text(json.dumps({**written, "zero_optimization": {"stage": 1}}))
    assert load_deepspeed(asks_for(write_yaml, path)) == {"zero_optimization": {"stage": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"zero_optimization": {"stage": 3}}', "ZeRO-3 is not supported: .* use stage 2"),
        ('{"zero_optimization": {"stage": 0}}', "expected .*stage 1 or 2, got 0"),
        ("{}", "expected .*stage 1 or 2, got 0"),
        ('{"gradient_clipping": 1.0}', "gradient_clipping is said by training.max_grad_norm"),
        ('{"optimizer": {"type": "AdamW"}}', "optimizer is said by training.optimizer; leave it"),
        ('{"bf16": {"enabled": true}}', "bf16 is said by training.bf16"),
        ("[2]", "expected DeepSpeed's JSON, such as"),
        ("{", "no JSON: "),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_to_do(
    text: str, expected: str, write_yaml: WriteYaml, tmp_path: Path
) -> None:
    path = tmp_path / "ds.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"deepspeed: .*ds.json: .*{expected}"):
        load_deepspeed(asks_for(write_yaml, path))


def test_a_missing_file_and_float16_are_refused(write_yaml: WriteYaml, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.json: No such file"):
        load_deepspeed(asks_for(write_yaml, tmp_path / "no.json"))
    config = asks_for(write_yaml, ZERO2).model_copy(deep=True)
    half = config.model_copy(update={"training": config.training.model_copy(update={"fp16": True})})
    with pytest.raises(ConfigError, match=r"training\.fp16 .* training\.bf16"):
        load_deepspeed(half)
