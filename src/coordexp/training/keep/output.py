"""What a run finds in `training.output_dir`: nothing, a run to go on with, or one that is done.

A run is recognised by the `config.yaml` that it writes first, beside the digests of its records
in `data.json`. It is done when the card of the
final weights, `coordexp.json`, is there, which is written last. Everything in between goes on from
the newest complete checkpoint, or from the beginning where there is none yet.
"""

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coordexp.config.load import dump_config, load_config
from coordexp.config.schema import Config
from coordexp.errors import ConfigError, CoordExpError, InputError
from coordexp.files import write_text
from coordexp.identity import Identity, file_digest
from coordexp.model.card import CARD_NAME
from coordexp.training.keep.checkpoint import (
    PARTIAL,
    checkpoint_step,
    clean_leftovers,
    disk_errors,
    find_checkpoints,
)
from coordexp.training.keep.resume import find_state

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"
DATA_NAME = "data.json"
LOCK_NAME = ".lock"
# All that a run killed before its config.yaml can have left.
_NOTHING_YET = frozenset(
    {LOCK_NAME, PARTIAL, DATA_NAME, f"{DATA_NAME}.partial", f"{CONFIG_NAME}.partial"}
)

# Keys that a run may change on the way: where it lies, what it says, keeps and looks at.
MAY_CHANGE = frozenset(
    {
        "training.output_dir",
        "training.logging_steps",
        "training.eval_strategy",
        "training.eval_steps",
        "training.per_device_eval_batch_size",
        "training.eval_packing",
        "training.save_strategy",
        "training.save_steps",
        "training.save_total_limit",
        "training.report_to",
        "training.dataloader_num_workers",
        "training.detection_eval.steps",
        "training.detection_eval.records",
        "training.detection_eval.patience",
        "data.eval",
        "custom.token_type_metrics.enabled",
        "custom.instability_monitor.enabled",
        "custom.instability_monitor.spike_factor",
        "custom.instability_monitor.window",
        "custom.instability_monitor.on_spike",
        "custom.instability_monitor.on_non_finite",
    }
)
# Keys that may be raised, so that the run goes on for longer.
MAY_GROW = frozenset({"training.max_steps", "training.num_train_epochs"})


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run starts.

    Args:
        fresh: Whether the directory holds nothing yet.
        finished: Whether there is nothing left to do.
        checkpoint: The newest complete checkpoint.
    """

    fresh: bool
    finished: bool
    checkpoint: Path | None

    def words(self, directory: Path) -> str:
        """Return what to tell the user, nothing for a new run."""
        if self.fresh:
            return ""
        if self.finished:
            return f"{directory}: this run is finished; nothing to do"
        if self.checkpoint is None:
            return f"{directory}: stopped before its first checkpoint; starting from the beginning"
        return f"{directory}: going on from step {checkpoint_step(self.checkpoint)}"


def find_start(config: Config, *, world_size: int) -> Start:
    """Return where a run starts; nothing is written.

    Raises:
        InputError: If the directory holds anything but a run of the same configuration.
        CoordExpError: If it cannot be written.
    """
    directory = config.training.output_dir
    if directory.exists() and not directory.is_dir():
        raise InputError(f"training.output_dir: {directory} is a file")
    _check_writable(directory)
    present = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    if present <= _NOTHING_YET:
        return Start(fresh=True, finished=False, checkpoint=None)
    if CONFIG_NAME not in present:
        raise InputError(
            f"training.output_dir: {directory} holds something that is no run of coordexp train "
            f"(no {CONFIG_NAME}); choose another or remove it"
        )
    longer = _check_same(config, directory)
    newest = next(reversed(find_checkpoints(directory)), None)
    if CARD_NAME in present and longer and newest is None:
        raise InputError(
            f"training.output_dir: the run in {directory} is finished and kept no checkpoint, so "
            "it cannot be made longer; choose another directory"
        )
    finished = CARD_NAME in present and not longer
    if newest is not None and not finished:
        find_state(newest, rank=0, world_size=world_size)
    return Start(fresh=False, finished=finished, checkpoint=newest)


def mark_output(config: Config) -> None:
    """Make the output directory that of this run: from now on it is recognised.

    Raises:
        InputError: If the run that lies there learned from other records.
    """
    directory = config.training.output_dir
    records = {str(part.path): file_digest(part.path) for part in config.data.parts}
    known = directory / DATA_NAME
    if (directory / CONFIG_NAME).exists() and known.exists():
        before = Identity(json.loads(known.read_text(encoding="utf-8")))
        if changed := before.changed(Identity(records)):
            raise InputError(
                f"{', '.join(changed)}: changed since the run in {directory} began; bring the old "
                "records back, or choose another training.output_dir"
            )
    with disk_errors(directory, CONFIG_NAME):
        clean_leftovers(directory)
        (directory / CARD_NAME).unlink(missing_ok=True)  # of a run that is made longer
        write_text(known, json.dumps(records) + "\n")
        write_text(directory / CONFIG_NAME, dump_config(config))


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Keep every other process out of a run's directory.

    The lock is the process's own (POSIX) and ends with it, however it ends; data loader workers
    that outlive it do not hold it.

    Raises:
        CoordExpError: If another process is training there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_NAME).open("a", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EAGAIN}:
                raise CoordExpError(
                    f"{directory}: another process is training there; wait for it or stop it"
                ) from None
            logger.warning("%s: this file system knows no locks; start no second run", directory)
        yield
    (directory / LOCK_NAME).unlink(missing_ok=True)  # kept where the run failed


def check_unclaimed(directory: Path) -> None:
    """Refuse a directory into which another process is training.

    Raises:
        CoordExpError: If there is one.
    """
    if (directory / LOCK_NAME).exists():
        with claimed(directory):
            pass


def _check_writable(directory: Path) -> None:
    nearest = next(
        parent for parent in (directory, *directory.absolute().parents) if parent.exists()
    )
    if not nearest.is_dir():
        raise InputError(f"training.output_dir: {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise CoordExpError(f"training.output_dir: {nearest} cannot be written to")


def _check_same(config: Config, directory: Path) -> bool:
    """Compare with the run that lies there, and return whether it is to become longer."""
    try:
        before = load_config(directory / CONFIG_NAME)
    except ConfigError as error:
        raise InputError(
            f"training.output_dir: {directory} holds a run of another configuration: {error}"
        ) from None
    old, new = _flat(before.model_dump(mode="json")), _flat(config.model_dump(mode="json"))
    differing = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    grown = [key for key in differing if key in MAY_GROW and _is_raised(old[key], new[key])]
    wrong = [key for key in differing if key not in MAY_CHANGE and key not in grown]
    if wrong:
        lines = "".join(
            f"\n  {key}: {new.get(key)!r}, there {old.get(key)!r}"
            + (" (may only be raised)" if key in MAY_GROW else "")
            for key in wrong
        )
        raise InputError(
            f"training.output_dir: {directory} holds a run of another configuration; choose "
            f"another directory, or change back{lines}"
        )
    return bool(grown)


def _is_raised(old: object, new: object) -> bool:
    # -1 steps count epochs: no number of steps is more or less than that.
    return isinstance(old, int | float) and isinstance(new, int | float) and 0 < old < new


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
