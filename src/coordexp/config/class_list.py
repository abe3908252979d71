"""The block `custom.class_list`: questions that name another list of classes each time."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from coordexp.config.block import Block, NonNegativeInt, Share

ClassSource = Literal["data", "file", "record"]


class Negatives(Block):
    """Classes that are asked for and are not on the picture."""

    most: NonNegativeInt = 20
    """A question names 0 to this many, drawn anew for each record and epoch; at least one where
    nothing else could be asked for."""
    empty_share: Share = 0.05
    """Share of the records that are asked for absent classes alone, in an epoch; the answer is
    `{}`."""


class ClassList(Block):
    """Questions that name the classes on the picture and some that are not, in random order."""

    source: ClassSource = "data"
    """Where absent classes come from: every desc of `data`, a `file`, or the `record`'s own
    `federated.absent` alone. A record with `federated` was searched for no others, so its own are
    taken whatever is set here."""
    file: Path | None = None
    """Text file of classes, one a line, for `source: file`."""
    negatives: Negatives = Negatives()

    @model_validator(mode="after")
    def _a_file_where_it_is_the_source(self) -> Self:
        if (self.source == "file") != (self.file is not None):
            raise ValueError("source: file and file: PATH go together")
        return self
