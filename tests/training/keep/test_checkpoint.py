import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from coordexp.errors import CoordExpError
from coordexp.training.keep.checkpoint import (
    PARTIAL,
    checkpoint_step,
    clean_leftovers,
    disk_errors,
    find_checkpoints,
    publish_checkpoint,
    publish_files,
    rotate_checkpoints,
)


def write(run: Path, name: str, text: str = "whole") -> None:
    (run / name).mkdir(parents=True)
    (run / name / "weights").write_text(text)


def test_checkpoints_are_sorted_by_step_and_nothing_else_is_one(tmp_path: Path) -> None:
    for name in ("checkpoint-10", "checkpoint-9", "checkpoint-9.old", "checkpoint-", "best"):
        write(tmp_path, name)
    (tmp_path / "checkpoint-3").touch()
    assert [checkpoint_step(path) for path in find_checkpoints(tmp_path)] == [9, 10]
    assert find_checkpoints(tmp_path / "nowhere") == []


def test_a_checkpoint_takes_the_place_of_one_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, "checkpoint-4", "before")
    write(tmp_path / PARTIAL, "checkpoint-4", "after")
    publish_checkpoint(tmp_path, "checkpoint-4")
    assert (tmp_path / "checkpoint-4" / "weights").read_text() == "after"
    assert list((tmp_path / PARTIAL).iterdir()) == []


def test_the_last_file_appears_last_and_the_old_one_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / PARTIAL / "final"
    written.mkdir(parents=True)
    for name in ("a", "card", "z"):
        (written / name).write_text("new")
    (tmp_path / "card").write_text("old")
    replace = Path.replace
    seen: list[tuple[str, bool]] = []

    def note(path: Path, target: Path) -> Path:
        seen.append((target.name, (tmp_path / "card").exists()))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", note)
    publish_files(tmp_path, "final", last="card")
    assert seen == [("a", False), ("z", False), ("card", False)]
    assert not written.exists()
    assert (tmp_path / "card").read_text() == "new"


@pytest.mark.parametrize(("keep", "left"), [(None, [1, 2, 10]), (1, [10]), (2, [2, 10]), (5, None)])
def test_the_newest_checkpoints_stay(tmp_path: Path, keep: int | None, left: list[int]) -> None:
    for step in (1, 2, 10):
        write(tmp_path, f"checkpoint-{step}")
    rotate_checkpoints(tmp_path, keep=keep)
    assert [checkpoint_step(path) for path in find_checkpoints(tmp_path)] == (left or [1, 2, 10])


def test_leftovers_go_and_checkpoints_stay(tmp_path: Path) -> None:
    write(tmp_path / PARTIAL, "checkpoint-4", "half")
    write(tmp_path, "checkpoint-2")
    (tmp_path / "config.yaml.partial").touch()
    (tmp_path / "config.yaml").touch()
    clean_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "config.yaml"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        SafetensorError("Error while serializing: I/O error: No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
    ids=["full", "not ours", "safetensors", "torch"],
)
def test_a_disk_that_takes_nothing_is_told_with_what_is_left(
    tmp_path: Path, error: Exception
) -> None:
    write(tmp_path, "checkpoint-2")
    told = r"checkpoint-4 cannot be written: .*checkpoint-2 is whole"
    with (
        pytest.raises(CoordExpError, match=told) as caught,
        disk_errors(tmp_path, "checkpoint-4"),
    ):
        raise error
    assert caught.value.exit_code == 1
    assert "run the same command again" in str(caught.value)


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), disk_errors(tmp_path, "checkpoint-4"):
        raise RuntimeError("shapes do not match")
    with pytest.raises(ConnectionError), disk_errors(tmp_path, "checkpoint-4"):
        raise ConnectionError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
