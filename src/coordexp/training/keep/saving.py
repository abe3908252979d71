"""How a Trainer's checkpoints get their place, and what they carry beside transformers' files."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from coordexp.errors import CoordExpError
from coordexp.model.card import CARD_NAME
from coordexp.training.keep.checkpoint import (
    PARTIAL,
    disk_errors,
    publish_checkpoint,
    publish_files,
    rotate_checkpoints,
)
from coordexp.training.keep.resume import state_name

FINAL = "final"


class CheckpointKeeper:
    """Writes checkpoints that are there whole or not at all; every rank has one.

    Args:
        run: The run's directory.
        keep: How many checkpoints are kept, the newest; None keeps all.
        rank: Of this process; the first one gives checkpoints their names.
        world_size: How many processes there are.
        wait: Returns when every rank has come this far.
        states: Returns what is saved beside transformers' files for this rank; called when these
            are there.
    """

    def __init__(
        self,
        run: Path,
        *,
        keep: int | None,
        rank: int,
        world_size: int,
        wait: Callable[[], None],
        states: Callable[[], Mapping[str, object]],
    ) -> None:
        self.run = run
        self._keep = keep
        self._rank = rank
        self._world_size = world_size
        self._wait = wait
        self._states = states
        self._writing = False

    @property
    def place(self) -> Path | None:
        """Where `checkpoint-N` is written, while one is."""
        return self.run / PARTIAL if self._writing else None

    def write(self, step: int, write: Callable[[], None]) -> None:
        """Let the checkpoint of a step appear.

        Args:
            step: Its number.
            write: Writes `checkpoint-N` into `place`, on every rank.

        Raises:
            CoordExpError: If the disk does not take it; the older checkpoints stay.
        """
        name = f"checkpoint-{step}"
        self._writing = True
        try:
            with disk_errors(self.run, name):
                write()
                file = state_name(self._rank, self._world_size)
                torch.save(dict(self._states()), self.run / PARTIAL / name / file)
                self._wait()
                if self._rank == 0:
                    publish_checkpoint(self.run, name)
                    rotate_checkpoints(self.run, keep=self._keep)
                    (self.run / PARTIAL).rmdir()
        except CoordExpError:
            shutil.rmtree(self.run / PARTIAL, ignore_errors=True)  # gives its room back
            raise
        finally:
            self._writing = False
        self._wait()

    def write_final(self, write: Callable[[Path], None]) -> None:
        """Let the final weights and cards appear in the run's directory; the card appears last.

        Args:
            write: Writes them into a directory, on every rank.

        Raises:
            CoordExpError: If the disk does not take them.
        """
        with disk_errors(self.run, "the final weights"):
            write(self.run / PARTIAL / FINAL)
            self._wait()
            if self._rank == 0:
                publish_files(self.run, FINAL, last=CARD_NAME)
                (self.run / PARTIAL).rmdir()
        self._wait()
