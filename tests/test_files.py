import errno
import os
from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.files import (
    copy_missing_files,
    unfinished_path,
    whole_directory,
    whole_file,
    write_text,
)


def test_text_is_written_whole_with_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "old")
    write_text(tmp_path / "a" / "b.txt", "néw")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "néw"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_text_that_cannot_be_written_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "b.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "b.txt", "\ud800")
    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "b.txt", "new")
    assert (tmp_path / "b.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_a_name_appears_when_its_bytes_are_on_the_disk_and_is_then_on_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        synced.append(f"{path.name} -> {target.name}")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_text(tmp_path / "a.txt", "x")
    assert synced == ["a.txt.partial", "a.txt.partial -> a.txt", tmp_path.name]
    synced.clear()
    with whole_directory(tmp_path / "d", overwrite=False) as partial:
        (partial / "inner").write_text("x")
        (partial / "gone").symlink_to("nowhere")
    assert synced == ["inner", "d.partial", "d.partial -> d", tmp_path.name]


def test_a_file_system_that_cannot_sync_a_directory_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


def test_a_file_that_fails_vanishes_wherever_it_is_written(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"

    def interrupt() -> None:
        with whole_file(tmp_path / "deep" / "a", unfinished=elsewhere) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_directory_appears_when_it_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "place"
    with whole_directory(place, overwrite=False) as partial:
        (partial / "file").touch()
        assert not place.exists()
    assert [path.name for path in place.iterdir()] == ["file"]
    assert [path.name for path in place.parent.iterdir()] == ["place"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_directory_that_fails_vanishes(tmp_path: Path, error: type[BaseException]) -> None:
    def fail_in(directory: Path) -> None:
        (directory / "file").touch()
        raise error

    with pytest.raises(error), whole_directory(tmp_path / "place", overwrite=False) as partial:
        fail_in(partial)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "place.partial").mkdir()
    (tmp_path / "place.partial" / "old").touch()
    with whole_directory(tmp_path / "place", overwrite=False):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["place"]


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    with whole_directory(tmp_path / "place", overwrite=False) as partial:
        (partial / "file").touch()
    assert (tmp_path / "place" / "file").exists()


def test_a_full_directory_is_replaced_only_when_told(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    with (
        pytest.raises(InputError, match="exists already"),
        whole_directory(place, overwrite=False),
    ):
        raise AssertionError("entered")
    with whole_directory(place, overwrite=True) as partial:
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "new"]


def test_the_old_directory_survives_a_failing_overwrite(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    with pytest.raises(ValueError, match="no"), whole_directory(place, overwrite=True):
        raise ValueError("no")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "old"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_is_never_replaced_by_a_directory(tmp_path: Path, *, overwrite: bool) -> None:
    (tmp_path / "place").write_text("mine")
    with (
        pytest.raises(InputError, match="there is a file"),
        whole_directory(tmp_path / "place", overwrite=overwrite),
    ):
        raise AssertionError("entered")
    assert (tmp_path / "place").read_text() == "mine"


def test_missing_files_are_copied_and_the_others_kept(tmp_path: Path) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"
    (src / "folder").mkdir(parents=True)
    dst.mkdir()
    for name in ("a.json", "b.json", "c.bin"):
        (src / name).write_text("theirs")
    (dst / "b.json").write_text("ours")
    copy_missing_files(src, dst, wanted=lambda path: path.suffix == ".json")
    assert {path.name: path.read_text() for path in dst.iterdir()} == {
        "a.json": "theirs",
        "b.json": "ours",
    }


def test_names_at_the_limit_of_the_file_system_are_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "\u00e9" * 127):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
        (tmp_path / name).unlink()
        for _ in range(2):
            with whole_directory(tmp_path / name, overwrite=True) as partial:
                (partial / "a").touch()
        assert [path.name for path in tmp_path.iterdir()] == [name]
        (tmp_path / name / "a").unlink()
        (tmp_path / name).rmdir()


def test_an_unfinished_file_is_called_after_what_it_becomes_where_it_can_be(tmp_path: Path) -> None:
    assert unfinished_path(tmp_path / "a.txt", before=".7.").name == ".7.a.txt.partial"
    long = [unfinished_path(tmp_path / (letter * 250)) for letter in "ab"]
    assert long[0] != long[1]
    assert all(path.name.endswith(".partial") and len(path.name) < 100 for path in long)
