"""What of a model is written into a checkpoint's directory, and read from there again."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from coordexp.errors import CheckpointError
from coordexp.model.adapters import base_model
from coordexp.model.plain_weights import (
    generating_with_cache,
    is_wrapped,
    keeps_own_tables,
    load_offset_tables,
    plain_weights,
    save_offset_tables,
)

Weights = dict[str, Any] | None
Found = _IncompatibleKeys
Write = Callable[[str, Weights], None]


class WeightFiles(Protocol):
    """Stands between a Trainer and the files of its model's weights."""

    gathers: bool
    """Whether weights that are spread over the ranks are brought together before they are
    written."""

    def write(self, model: nn.Module, directory: Path, weights: Weights, theirs: Write, /) -> None:
        """Write a model.

        Args:
            model: As it was before an engine wrapped it.
            directory: For its files.
            weights: Its own, where they had to be gathered.
            theirs: The Trainer's way to write weights.
        """

    def read(self, model: nn.Module, checkpoint: Path) -> None:
        """Put into a model what the Trainer has not read of a checkpoint."""

    def check(self, model: nn.Module, found: Found, theirs: Callable[[Found], None], /) -> None:
        """Look at what of a checkpoint did not fit a model.

        Args:
            model: As it was before an engine wrapped it.
            found: The checkpoint's `missing_keys` and `unexpected_keys`.
            theirs: The Trainer's way to look at them.
        """


class TheirFiles:
    """The Trainer's own files, and something beside them.

    Args:
        write_extras: Writes what belongs beside the weights into a directory.
    """

    gathers = False

    def __init__(self, write_extras: Callable[[Path], None] | None = None) -> None:
        self._write_extras = write_extras

    def write(self, _: nn.Module, directory: Path, weights: Weights, theirs: Write) -> None:
        """Write what the Trainer writes, and the extras."""
        theirs(str(directory), weights)
        if self._write_extras is not None:
            self._write_extras(directory)

    def read(self, model: nn.Module, checkpoint: Path) -> None:
        """Leave the model as the Trainer has read it."""

    def check(self, _: nn.Module, found: Found, theirs: Callable[[Found], None]) -> None:
        """Leave it to the Trainer, which warns."""
        theirs(found)


class LearnerFiles:
    """A model with coord offsets, whatever of it learns, as everybody can load it.

    Args:
        run: The run's directory, for messages.
        write_extras: Writes what belongs beside the weights into a directory.
        saves: Whether this process is the one that writes.
    """

    gathers = True

    def __init__(self, run: Path, write_extras: Callable[[Path], None], *, saves: bool) -> None:
        self._run = run
        self._write_extras = write_extras
        self._saves = saves

    def write(self, model: nn.Module, directory: Path, weights: Weights, theirs: Write) -> None:
        """Write plain weights or an adapter, tables that no adapter carries, and the extras."""
        own_tables = keeps_own_tables(model)
        plain = plain_weights(model, weights) if own_tables else nullcontext(weights)
        with generating_with_cache(base_model(model).config), plain as written:
            theirs(str(directory), written)
        if self._saves:
            if own_tables:
                save_offset_tables(model, directory, weights)
            self._write_extras(directory)

    def read(self, model: nn.Module, checkpoint: Path) -> None:
        """Put the tables of a model back that no adapter carries."""
        if keeps_own_tables(model):
            load_offset_tables(model, checkpoint)

    def check(self, model: nn.Module, found: Found, _: Callable[[Found], None]) -> None:
        """Refuse weights of another shape of model, where transformers only warns.

        Raises:
            CheckpointError: If a weight of the model is not in the checkpoint, or the other way.
        """
        if keeps_own_tables(model):  # its embedding and head go on from the base and the tables
            missing, unexpected = (
                [name for name in names if not is_wrapped(model, name)] for names in found
            )
            found = _IncompatibleKeys(missing, unexpected)
        wrong = mismatched(model.state_dict(), found.missing_keys, found.unexpected_keys)
        if wrong:
            raise CheckpointError(
                f"{self._run}: the checkpoint is of another model; {len(wrong)} weight(s) do not "
                f"match, the first {wrong[0]}"
            )


def mismatched(state: dict[str, Tensor], missing: list[str], unexpected: list[str]) -> list[str]:
    """Return the weights that are in a model or in a checkpoint alone.

    Args:
        state: The model's; a missing weight that is tied to one which is there is not lost.
        missing: Names of the model's that the checkpoint lacks.
        unexpected: Names of the checkpoint's that the model lacks.
    """
    absent = set(missing)
    loaded = {value.data_ptr() for name, value in state.items() if name not in absent}
    lost = [name for name in sorted(absent) if state[name].data_ptr() not in loaded]
    return [*lost, *unexpected]
