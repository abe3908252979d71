"""Faults planted in versions, directories and disks."""

import importlib.util
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from coordexp.config.load import dump_config
from coordexp.files import write_text
from coordexp.inspection.doctor.doctor import CHECKS, examine, found_by
from coordexp.inspection.doctor.place import judged_room, version_faults
from coordexp.inspection.doctor.verdict import CheckResult, Pieces
from tests.inspection.conftest import MakeRun


def look(name: str, pieces: Pieces) -> CheckResult:
    return found_by(next(check for check in CHECKS if check.name == name), pieces)


def test_versions_that_do_not_fit_are_found() -> None:
    needed = ["torch>=2.9", "peft>=0.20", "rich>=14", "vllm>=1; extra == 'vllm'"]
    installed = {"torch": "2.13.0+cpu", "peft": "0.15.2"}
    assert version_faults(needed, installed.get) == [
        "peft 0.15.2 is not >=0.20",
        "rich is not installed",
    ]


def test_a_version_that_does_not_fit_is_red(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look("versions", Pieces(make_run())).verdict == "green"
    monkeypatch.setattr("coordexp.inspection.doctor.place.installed_version", lambda _: "0.0.1")
    found = look("versions", Pieces(make_run()))
    assert found.verdict == "red"
    assert "torch 0.0.1 is not >=" in found.found


def test_packs_without_flash_attention_are_pointed_out(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}
    packing = {"packing": True, "global_max_length": 99, "use_cpu": False, **sizes}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    fault = "flash-attn 2 is not installed"
    for module in ("coordexp.training.run.machine", "coordexp.inspection.doctor.place"):
        monkeypatch.setattr(f"{module}.flash_fault", lambda: fault)
    found = look("versions", Pieces(make_run(training=packing)))
    assert (found.verdict, "install flash-attn" in found.advice) == ("yellow", True)


def test_a_host_that_is_not_installed_is_found(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("coordexp.training.run.host.version", absent)
    config = make_run().model_copy(update={"host": "ms_swift"})
    found = look("versions", Pieces(config))
    assert (found.verdict, "pip install '.[swift]'" in found.found) == ("red", True)


def test_a_tracker_that_is_not_there_is_found(make_run: MakeRun) -> None:
    found = look("versions", Pieces(make_run(training={"report_to": "tensorbored"})))
    assert (found.verdict, "unknown tracker 'tensorbored'" in found.found) == ("red", True)


def test_half_precision_without_a_gpu_is_red_and_the_rest_is_looked_at(make_run: MakeRun) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    diagnosis = examine(make_run(training={"use_cpu": False, "bf16": True}))
    assert "training.bf16: there is no GPU here" in diagnosis.findings["device"].found
    assert diagnosis.count("red") == 1
    assert diagnosis.findings["one step"].verdict == "green"


def test_flash_attention_by_name_where_it_cannot_run_is_red(make_run: MakeRun) -> None:
    config = make_run(model={"attn_implementation": "flash_attention_2"})
    found = look("versions", Pieces(config))
    assert (found.verdict, "model.attn_implementation" in found.found) == ("red", True)


def test_four_bits_without_their_library_are_red(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = look("versions", Pieces(make_run(model={"quantization": "nf4"})))
    assert (found.verdict, "'.[qlora]'" in found.found) == ("red", True)


def test_a_directory_that_cannot_be_written_is_found(make_run: MakeRun, tmp_path: Path) -> None:
    good = look("save and resume", Pieces(make_run()))
    assert good.verdict == "green"
    assert good.found.endswith("writable, a new run")
    # No file can be made there, by root either.
    nowhere = look("save and resume", Pieces(make_run(training={"output_dir": "/proc/self/run"})))
    assert nowhere.verdict == "red"
    (tmp_path / "file").write_text("")
    below_file = {"output_dir": str(tmp_path / "file" / "run")}
    found = look("save and resume", Pieces(make_run(training=below_file)))
    assert (found.verdict, "is a file" in found.found) == ("red", True)


def test_another_run_in_the_directory_is_found(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    found = look("save and resume", Pieces(make_run(training={"output_dir": str(tmp_path)})))
    assert (found.verdict, "no run of coordexp train" in found.found) == ("red", True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_finished_run_is_pointed_out(make_run: MakeRun, tmp_path: Path) -> None:
    config = make_run(training={"output_dir": str(tmp_path)})
    write_text(tmp_path / "config.yaml", dump_config(config))
    write_text(tmp_path / "coordexp.json", "{}")
    found = look("save and resume", Pieces(config))
    assert (found.verdict, "finished" in found.found) == ("yellow", True)


def test_a_full_disk_is_found(make_run: MakeRun) -> None:
    config = make_run(training={"save_strategy": "steps", "save_total_limit": 2})
    # Two are kept while a third is written.
    assert judged_room(100, config, free=299).verdict == "red"
    assert judged_room(100, config, free=300).verdict == "green"
    endless = make_run(training={"save_strategy": "steps"})
    assert judged_room(100, endless, free=300).verdict == "yellow"
    assert judged_room(100, endless, free=3000).verdict == "green"
    assert judged_room(100, make_run(), free=200).verdict == "green"


def test_a_deepspeed_file_that_is_not_there_is_found(make_run: MakeRun, tmp_path: Path) -> None:
    config = make_run().model_copy(update={"deepspeed": tmp_path / "gone.json"})
    found = look("versions", Pieces(config))
    assert (found.verdict, "gone.json" in found.found) == ("red", True)
