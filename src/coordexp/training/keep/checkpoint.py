"""Checkpoints that are there whole or not at all.

While a checkpoint is written, by all ranks, it lies in `.partial/` of the run's directory. When it
is complete it is flushed to the disk and renamed to `checkpoint-N`; a checkpoint that is no longer
wanted is renamed into `.partial/` before it is deleted. So whatever is called `checkpoint-N` is
complete, at whatever moment a run was killed, and the next start deletes `.partial/`.

The rename is atomic on one file system: `.partial/` must not be a link to another.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from coordexp.errors import CoordExpError
from coordexp.files import flush, flush_tree

PARTIAL = ".partial"
_NAME = re.compile(r"checkpoint-(\d+)")
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}) | frozenset(
    {errno.EACCES, errno.EPERM}
)
# What torch's own writer says of itself when the disk does not take its bytes: a RuntimeError.
_TORCH_WRITER = ("inline_container", "PytorchStreamWriter", "iostream error")


def checkpoint_step(checkpoint: Path) -> int:
    """Return the optimizer step of a `checkpoint-N`."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def find_checkpoints(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run's directory, oldest first."""
    if not run.is_dir():
        return []
    found = (path for path in run.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())
    return sorted(found, key=checkpoint_step)


def publish_checkpoint(run: Path, name: str) -> None:
    """Let a checkpoint that lies complete in `.partial/` appear under its name."""
    written = run / PARTIAL / name
    flush_tree(written)
    _replace(written, run / name, run)
    flush(run)


def publish_files(run: Path, name: str, *, last: str) -> None:
    """Let the files of a directory in `.partial/` appear in the run's directory.

    Args:
        run: The run's directory.
        name: Of the directory in `.partial/`.
        last: The file that appears when all others are there: where it is, everything is.
    """
    written = run / PARTIAL / name
    flush_tree(written)
    (run / last).unlink(missing_ok=True)
    for path in sorted(written.iterdir(), key=lambda path: (path.name == last, path.name)):
        _replace(path, run / path.name, run)
        flush(run)
    written.rmdir()


def rotate_checkpoints(run: Path, *, keep: int | None) -> None:
    """Delete all but the newest `keep` checkpoints; None keeps all."""
    for checkpoint in find_checkpoints(run)[: -keep if keep else 0]:
        _discard(checkpoint, run)


def clean_leftovers(run: Path) -> None:
    """Delete what a killed run left unfinished; complete checkpoints stay."""
    if (run / PARTIAL).exists():
        shutil.rmtree(run / PARTIAL)
    for path in run.glob("*.partial"):
        path.unlink()


@contextmanager
def disk_errors(run: Path, what: str) -> Iterator[None]:
    """Turn a disk that does not take what is written into an error that says what to do.

    Args:
        run: The run's directory.
        what: Was to be written.

    Raises:
        CoordExpError: For a full disk, one that cannot be written, or one that fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise CoordExpError(_disk_message(run, what, error.strerror or str(error))) from None
    except SafetensorError as error:  # no OSError there, whatever happened
        raise CoordExpError(_disk_message(run, what, str(error))) from None
    except RuntimeError as error:
        if not any(mark in str(error) for mark in _TORCH_WRITER):
            raise
        raise CoordExpError(_disk_message(run, what, "its file could not be written")) from None


def _disk_message(run: Path, what: str, reason: str) -> str:
    kept = find_checkpoints(run)
    last = f"{kept[-1].name} is whole" if kept else "there is no checkpoint yet"
    place = next(parent for parent in (run, *run.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    return (
        f"{run}: {what} cannot be written: {reason} ({free:.2f} GB free there); {last}. "
        "Make room or give the directory its rights, then run the same command again"
    )


def _replace(source: Path, target: Path, run: Path) -> None:
    if target.is_dir():
        _discard(target, run)
    source.replace(target)


def _discard(directory: Path, run: Path) -> None:
    (run / PARTIAL).mkdir(exist_ok=True)
    doomed = run / PARTIAL / f"{directory.name}.old"
    directory.replace(doomed)
    shutil.rmtree(doomed)
