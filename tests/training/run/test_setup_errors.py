import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from coordexp.errors import CoordExpError, InputError
from coordexp.training.run.setup_errors import run_errors, setup_errors
from coordexp.training.run.stage1 import build_trainer, train
from tests.training.conftest import MakeConfig


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_librarys_message_comes_with_the_keys_it_speaks_of() -> None:
    with pytest.raises(InputError) as caught, setup_errors("the Trainer"):
        raise ValueError("You need to assign use_cpu if you want bf16.\nSee the manual.")
    expected = (
        "training.bf16, training.use_cpu: the Trainer cannot be set up: ValueError: "
        "You need to assign use_cpu if you want bf16."
    )
    assert str(caught.value) == expected


def test_our_own_errors_and_a_full_device_pass_unchanged() -> None:
    for error in (CoordExpError("ours"), torch.OutOfMemoryError("full")):
        with pytest.raises(type(error), match=str(error)), setup_errors("the Trainer"):
            raise error


@pytest.mark.parametrize("place", ["TrainingArguments.__post_init__", "Trainer.__init__"])
@pytest.mark.parametrize("kind", [ValueError, ImportError, RuntimeError, NotImplementedError])
def test_no_library_reaches_the_user_raw(
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    kind: type[Exception],
) -> None:
    monkeypatch.setattr(f"transformers.{place}", fail_with(kind("adam_beta1 is odd")))
    with pytest.raises(InputError, match=r"training\.adam_beta1: .*adam_beta1 is odd"):
        train(make_config(tmp_path / "run"))
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("not enough memory: 9 GB")],
)
def test_a_device_without_memory_is_told_with_a_way_out(error: BaseException) -> None:
    with pytest.raises(CoordExpError, match="gradient_checkpointing: true"), run_errors():
        raise error


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), run_errors():
        raise ZeroDivisionError


def test_a_tracker_that_fails_names_its_key(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.integrations import integration_utils  # noqa: PLC0415

    # As a tracker without an account does, when the run begins.
    source = "def on_train_begin(self, *_, **__):\n    raise ValueError('not logged in')\n"
    exec(source, integration_utils.__dict__)
    failing = integration_utils.__dict__.pop("on_train_begin")
    tracker = type("Tracker", (TrainerCallback,), {"on_train_begin": failing})
    table = integration_utils.INTEGRATION_TO_CALLBACK
    monkeypatch.setitem(table, "wandb", tracker)
    with pytest.raises(CoordExpError, match=r"training\.report_to: .*not logged in"):
        train(make_config(tmp_path / "run", training={"report_to": "wandb"}))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("chat_template.jinja", b"{%- for message in mess", "the chat template cannot be used"),
        ("config.json", b"[]", "expected a JSON object"),
        ("generation_config.json", b"null", "the model cannot be loaded"),
        ("preprocessor_config.json", b"[]", "the image processor cannot be loaded"),
        ("preprocessor_config.json", b"{}", "patch_size 14 does not fit the model"),
        ("tokenizer.json", b"", "the tokenizer cannot be loaded"),
        ("model.safetensors", b"\0" * 99, "cannot be read"),
    ],
)
def test_a_broken_file_of_the_base_is_named(
    make_config: MakeConfig,
    tiny_expanded: Path,
    tmp_path: Path,
    name: str,
    content: bytes,
    expected: str,
) -> None:
    base = Path(shutil.copytree(tiny_expanded, tmp_path / "base"))
    (base / name).unlink()
    (base / name).write_bytes(content)
    config = make_config(tmp_path / "run", model={"path": str(base)})
    with pytest.raises(InputError, match=expected):
        build_trainer(config, callbacks=[])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~/models/base", "~ means nothing outside a shell"),
        ("Owner/Name-4B", "a name of a hub is not looked up here"),
        ("/nowhere/at/all", "there is no such directory"),
    ],
)
def test_a_base_that_is_nowhere_says_what_was_probably_meant(
    make_config: MakeConfig, tmp_path: Path, path: str, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        build_trainer(make_config(tmp_path / "run", model={"path": path}), callbacks=[])
