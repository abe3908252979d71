import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coordexp.config.load import dump_config
from coordexp.config.schema import Config
from coordexp.errors import CoordExpError, InputError
from coordexp.training.keep.output import (
    MAY_CHANGE,
    MAY_GROW,
    Start,
    check_unclaimed,
    claimed,
    find_start,
    mark_output,
)

MakeConfig = Callable[..., Config]


@pytest.fixture
def run(make_config: MakeConfig, tmp_path: Path) -> Path:
    """What a run of one process leaves when it is killed after a checkpoint."""
    directory = tmp_path / "run"
    (directory / "checkpoint-2").mkdir(parents=True)
    (directory / "checkpoint-2" / "state_rank_0_of_1.pt").touch()
    config = make_config(directory, training={"max_steps": 5})
    (directory / "config.yaml").write_text(dump_config(config))
    return directory


def changed(make_config: MakeConfig, run: Path, **training: object) -> Config:
    return make_config(run, training={"max_steps": 5, **training})


@pytest.mark.parametrize("left", [(), (".lock",), (".lock", "data.json", "config.yaml.partial")])
def test_a_directory_with_nothing_in_it_is_a_new_run(
    make_config: MakeConfig, tmp_path: Path, left: tuple[str, ...]
) -> None:
    new = Start(fresh=True, finished=False, checkpoint=None)
    assert find_start(make_config(tmp_path / "nowhere"), world_size=1) == new
    for name in left:
        (tmp_path / name).touch()
    assert find_start(make_config(tmp_path), world_size=1) == new
    assert new.words(tmp_path) == ""


def test_a_run_of_the_same_configuration_goes_on(make_config: MakeConfig, run: Path) -> None:
    start = find_start(changed(make_config, run), world_size=1)
    assert start == Start(fresh=False, finished=False, checkpoint=run / "checkpoint-2")
    assert start.words(run) == f"{run}: going on from step 2"


def test_a_run_without_a_checkpoint_starts_again(make_config: MakeConfig, run: Path) -> None:
    (run / "checkpoint-2" / "state_rank_0_of_1.pt").unlink()
    (run / "checkpoint-2").rmdir()
    start = find_start(changed(make_config, run), world_size=1)
    assert start.words(run) == (
        f"{run}: stopped before its first checkpoint; starting from the beginning"
    )


def test_a_finished_run_says_so(make_config: MakeConfig, run: Path) -> None:
    (run / "coordexp.json").touch()
    start = find_start(changed(make_config, run), world_size=1)
    assert start.finished
    assert start.words(run) == f"{run}: this run is finished; nothing to do"
    longer = find_start(changed(make_config, run, max_steps=9), world_size=1)
    assert longer == Start(fresh=False, finished=False, checkpoint=run / "checkpoint-2")


def test_a_finished_run_without_a_checkpoint_cannot_be_made_longer(
    make_config: MakeConfig, run: Path
) -> None:
    (run / "coordexp.json").touch()
    (run / "checkpoint-2").rename(run / "kept")
    with pytest.raises(InputError, match="kept no checkpoint"):
        find_start(changed(make_config, run, max_steps=9), world_size=1)


def test_what_differs_is_named_with_both_values(make_config: MakeConfig, run: Path) -> None:
    config = make_config(
        run, training={"max_steps": 4, "learning_rate": 0.5}, tuner={"lora_dropout": 0.1}
    )
    with pytest.raises(InputError) as caught:
        find_start(config, world_size=1)
    assert str(caught.value).splitlines()[1:] == [
        "  training.learning_rate: 0.5, there 0.001",
        "  training.max_steps: 4, there 5 (may only be raised)",
        "  tuner.lora_dropout: 0.1, there 0.0",
    ]


def test_what_may_change_may(make_config: MakeConfig, run: Path) -> None:
    config = changed(
        make_config, run, logging_steps=7, save_steps=3, save_total_limit=2, report_to="none"
    )
    assert find_start(config, world_size=1).checkpoint == run / "checkpoint-2"
    moved = run.rename(run.with_name("moved"))
    assert find_start(changed(make_config, moved), world_size=1).checkpoint is not None


def test_the_keys_that_may_change_exist(make_config: MakeConfig, run: Path) -> None:
    blocks = make_config(run).model_dump()
    for key in MAY_CHANGE | MAY_GROW:
        *path, name = key.split(".")
        block = blocks
        for part in path:
            block = block[part]
        assert name in block


def test_another_number_of_processes_is_refused(make_config: MakeConfig, run: Path) -> None:
    with pytest.raises(InputError, match=r"written by 1 process\(es\), this is a run of 2"):
        find_start(changed(make_config, run), world_size=2)


def test_a_broken_configuration_there_is_refused(make_config: MakeConfig, run: Path) -> None:
    (run / "config.yaml").write_text("traning: {}\n")
    with pytest.raises(InputError, match="of another configuration"):
        find_start(changed(make_config, run), world_size=1)


def test_a_place_that_cannot_be_written_is_refused(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'file'} is a file")):
        find_start(make_config(tmp_path / "file" / "run"), world_size=1)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(CoordExpError, match="cannot be written to") as caught:
        find_start(make_config(tmp_path / "a" / "run"), world_size=1)
    assert caught.value.exit_code == 1


LOCKING = "import sys, fcntl; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print(1)"


def test_a_directory_belongs_to_one_process(tmp_path: Path) -> None:
    with claimed(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()
    with subprocess.Popen(
        [sys.executable, "-c", f"{LOCKING}; sys.stdout.flush(); input()", str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "1\n"
        with (
            pytest.raises(CoordExpError, match="another process is training there"),
            claimed(tmp_path),
        ):
            pass
        with pytest.raises(CoordExpError, match="another process is training there"):
            check_unclaimed(tmp_path)
        other.kill()
    check_unclaimed(tmp_path)
    assert not (tmp_path / ".lock").exists()


def test_records_that_have_changed_are_refused(
    make_config: MakeConfig, scenes: Path, tmp_path: Path
) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text(scenes.read_text())
    (tmp_path / "run").mkdir()
    config = make_config(tmp_path / "run", data={"train": str(records)})
    mark_output(config)
    mark_output(config)
    records.write_text(scenes.read_text().replace("width", "wilth", 1))
    with pytest.raises(InputError, match=r"records\.jsonl: changed since the run in"):
        mark_output(config)
