"""How a file is prepared, as one value from the command line to the core."""

from dataclasses import dataclass

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.prepare.selection import Selection
from coordexp.families.picture_grid import PictureGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """How a file is prepared.

    Args:
        alphabet: Of the coord tokens.
        grid: Cell and area of the resized pictures; None leaves pictures alone.
        selection: Which records are kept.
        drop_bad: Leave out records that break the contract or whose picture cannot be read, and
            count them, where otherwise the first stops everything.
        overwrite: Whether the output and the folder for resized pictures may be there already, and
            are replaced when the new ones are complete.
        workers: Processes; more than one needs `if __name__ == "__main__"` in the program.
    """

    alphabet: CoordAlphabet
    grid: PictureGrid | None = None
    selection: Selection = Selection()  # noqa: RUF009 - frozen
    drop_bad: bool = False
    overwrite: bool = False
    workers: int = 1
