"""Files and directories that appear whole or not at all.

What is written lies beside its place, under its name with a mark. It is renamed when its bytes are
on the disk, and then so is the name: after a crash of the machine there is the old or the new, and
never an empty file that looks finished. Whoever writes what another stage reads does it here.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from coordexp.errors import InputError

LONGEST_NAME_BYTES = 255  # of nearly all file systems
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}  # some network file systems, of a directory


def unfinished_path(path: Path, *, before: str = "", behind: str = ".partial") -> Path:
    """Return where a file or directory is kept until it is whole, or while it is replaced.

    That is beside it, under its name with a mark; where that would be longer than a file system
    takes, the name's hash stands for it.

    Args:
        path: What it is to become.
        before: Goes before the name.
        behind: Goes behind the name.
    """
    name = f"{before}{path.name}{behind}"
    if len(os.fsencode(name)) > LONGEST_NAME_BYTES:
        name = f"{before}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}{behind}"
    return path.with_name(name)


@contextmanager
def whole_file(path: Path, *, unfinished: Path | None = None) -> Iterator[BinaryIO]:
    """Give an open file that becomes `path` when the block ends.

    When the block fails it vanishes, and what was at `path` is untouched.

    Args:
        path: Its folder is made.
        unfinished: Where it is written, on the same file system; beside `path` unless told. Where
            several processes may write the same file, each needs a name of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished_path(path) if unfinished is None else unfinished
    try:
        with partial.open("wb") as file:
            yield file
        publish(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; lines end as they do in `text`."""
    content = text.encode("utf-8")
    with whole_file(path) as file:
        file.write(content)


def publish(finished: Path, path: Path) -> None:
    """Put a finished file or directory under its name, when its bytes are on the disk.

    Args:
        finished: Beside `path`, or elsewhere on its file system.
        path: A file there is replaced.
    """
    flush_tree(finished)
    finished.replace(path)
    flush(path.parent)


def flush_tree(path: Path) -> None:
    """Make sure that a file, or a directory and all below it, is on the disk."""
    for inner in path.rglob("*") if path.is_dir() else ():
        if not inner.is_symlink():
            flush(inner)
    flush(path)


def flush(path: Path) -> None:
    """Make sure that a file's bytes, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def copy_missing_files(src: Path, dst: Path, *, wanted: Callable[[Path], bool]) -> None:
    """Copy the wanted files of one directory into another; what is there already stays.

    Args:
        src: Its subdirectories are not looked at.
        dst: An existing directory.
        wanted: Says of a path in `src` whether it is copied.
    """
    for path in sorted(src.iterdir()):
        if path.is_file() and wanted(path) and not (dst / path.name).exists():
            shutil.copyfile(path, dst / path.name)


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Check that `whole_directory` would take a path.

    Raises:
        InputError: If `path` is a file, or exists with something in it and `overwrite` is false.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected a directory to write, there is a file")
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise InputError(
            f"{path}: exists already; choose another place, remove it or pass --overwrite"
        )


def check_new_file(path: Path, *, overwrite: bool) -> None:
    """Check that a file may be written.

    Raises:
        InputError: If `path` is a directory, or there is something and `overwrite` is false.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a file to write, there is a directory")
    if path.exists() and not overwrite:
        raise InputError(
            f"{path}: exists already; choose another name, remove it or pass --overwrite"
        )


@contextmanager
def whole_directory(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary directory that becomes `path` when the block ends.

    When the block fails the temporary directory vanishes, and what was at `path` is untouched.

    Raises:
        InputError: If `path` is a file, or exists with something in it and `overwrite` is false.
    """
    check_writable(path, overwrite=overwrite)
    partial = unfinished_path(path)
    old = unfinished_path(path, behind=f".{os.getpid()}.old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            path.replace(old)
        publish(partial, path)
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
