"""Several lines about one question to one picture, taken as the one line that they are.

Two records may have the same picture: with prompts of their own they ask different things, as
referring expressions do, and each is judged alone. With the same prompt, or none, the model is
asked the same thing twice, each answer is the whole picture's, and each line holds a part of its
truth. Judged apart, every object of the other line would be a mistake. So such lines are joined:
their true objects come together, and of equal ones, true or predicted, one line's are kept. Nothing
is lost in silence: the number of lines that were joined is told.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coordexp.errors import RecordError
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scored_objects import ScoredObject


@dataclass(frozen=True, slots=True)
class Joined:
    """Predictions with one line for each question to a picture.

    Args:
        rows: In the order in which the pictures come first.
        lines: How many lines were joined to an earlier one.
        first: Line and image of the first of them; None where there is none.
    """

    rows: tuple[Prediction, ...]
    lines: int
    first: tuple[int, str] | None

    def note(self) -> str | None:
        """Return what a reader has to know, None where no line was joined."""
        if self.first is None:
            return None
        line, image = self.first
        return (
            f"{self.lines} lines ask of a picture what an earlier line asks; each was joined with "
            f"that one, and their true objects taken together (line {line}, {image!r}, is the "
            "first). Give referring expressions a prompt each, or merge such records"
        )


def join_lines(rows: Sequence[Prediction], path: Path) -> Joined:
    """Return predictions with one line for each question to a picture.

    Args:
        rows: Of a predictions file.
        path: The file, for messages.

    Raises:
        RecordError: If two lines about one picture disagree about its size.
    """
    kept: dict[tuple[str, str, str | None], Prediction] = {}
    first: tuple[int, str] | None = None
    for line, row in enumerate(rows, start=1):
        key = (row.root, row.image, row.prompt)
        earlier = kept.get(key)
        if earlier is None:
            kept[key] = row
            continue
        sizes = [f"{known.width}x{known.height}" for known in (row, earlier)]
        if sizes[0] != sizes[1]:
            raise RecordError(
                f"{row.image!r} has {sizes[0]} pixels here and {sizes[1]} in an earlier line",
                file=path,
                line=line,
            )
        first = first or (line, row.image)
        kept[key] = replace(
            earlier,
            truth=_together(earlier.truth, row.truth),
            predicted=_together(earlier.predicted, row.predicted),
        )
    return Joined(tuple(kept.values()), len(rows) - len(kept), first)


def _together(
    one: Sequence[ScoredObject], other: Sequence[ScoredObject]
) -> tuple[ScoredObject, ...]:
    """Return the objects of two lines, as often as the line that has most of them has each.

    Scores are not compared: one answer, given in two batches, may differ in the last digits.
    """
    known = Counter((item.desc, item.geometry) for item in one)
    new = []
    for item in other:
        if known[item.desc, item.geometry]:
            known[item.desc, item.geometry] -= 1
        else:
            new.append(item)
    return (*one, *new)
