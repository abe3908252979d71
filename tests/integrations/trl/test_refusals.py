from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordexp.errors import InputError
from coordexp.integrations.trl.refusals import check_arguments, check_trl
from tests.integrations.conftest import MakeConfig

PLAIN = {
    "beta": 0.0,
    "use_vllm": False,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "use_liger_kernel": False,
    "deepspeed": None,
    "fsdp": [],
}


def test_a_plain_run_is_taken(make_config: MakeConfig) -> None:
    check_arguments(make_config(Path("unused"), host="plain"), SimpleNamespace(**PLAIN))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": 0.1}, "beta"),
        ({"use_vllm": True}, "use_vllm"),
        ({"top_k": 50}, "top_p, top_k, min_p"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
        ({"use_liger_kernel": True}, "use_liger_kernel"),
        ({"fsdp": "full_shard"}, "deepspeed and fsdp"),
    ],
)
def test_what_would_go_past_the_decoder_is_refused(
    make_config: MakeConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=rf"TRL: 1 problem\(s\)\n  {message}"):
        check_arguments(
            make_config(Path("unused"), host="plain"), SimpleNamespace(**{**PLAIN, **changes})
        )


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            {"custom": {"class_list": {"source": "data"}, "user_prompt": "Find {classes}."}},
            "custom.class_list: TRL is given each question once",
        ),
        (
            {"data": {"train": "t.jsonl", "augment": {"flip_left_right": 0.5}}},
            "data.augment: TRL is given pictures as they are",
        ),
    ],
)
def test_what_changes_a_record_by_epoch_is_refused(
    make_config: MakeConfig, blocks: dict[str, dict[str, Any]], message: str
) -> None:
    config = make_config(Path("unused"), host="plain", **blocks)
    with pytest.raises(InputError, match=rf"TRL: 1 problem\(s\)\n  {message}"):
        check_arguments(config, SimpleNamespace(**PLAIN))


def test_every_problem_of_a_configuration_is_told_at_once(make_config: MakeConfig) -> None:
    config = make_config(
        Path("unused"),
        host="plain",
        tuner={"train_type": "full", "lora_rank": 4},
        training={"optimizer": "multimodal"},
        custom={
            "coord_tokens": {"enabled": False},
            "coord_soft_ce_w1": {"enabled": False},
            "coord_offset": {"enabled": False},
        },
    )
    with pytest.raises(InputError, match=r"2 problem\(s\)") as caught:
        check_arguments(config, SimpleNamespace(**PLAIN))
    assert "custom.coord_tokens.enabled: expected true" in str(caught.value)
    assert "tuner.train_type: full" in str(caught.value)


def test_another_trl_is_refused_with_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "0.29.1")
    with pytest.raises(InputError, match=r"expected TRL 1\.16 or later, below 1\.17; .* 0\.29\.1"):
        check_trl()


def test_no_trl_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(InputError, match="pip install 'coordexp"):
        check_trl()
