"""A few held-out pictures with what is true, and what every arm of a study says of them.

For each task the largest number of training pictures that a run has ended with, and of its seeds
the first that most arms have. Pictures are spread evenly over those with objects, before anything
is known of the answers: none is chosen for how it came out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.evaluation.page.page import shot
from coordexp.lab.results import Line, arm_name
from coordexp.lab.study import Cell, Plan
from coordexp.viewing.elements import Shot

PICTURES = 4
"""For each task."""


@dataclass(frozen=True, slots=True)
class ComparedPicture:
    """One held-out picture.

    Args:
        title: Task, training pictures, seed and the picture's name.
        shots: What is true, then an answer for every arm, in the order of the study.
    """

    title: str
    shots: tuple[Shot, ...]


def compared_pictures(plan: Plan, lines: Mapping[Cell, Line | None]) -> Iterator[ComparedPicture]:
    """Yield the pictures of every task with a run that has ended well.

    A picture whose file is gone is left out: figures need none.
    """
    done = [cell for cell, line in lines.items() if line is not None and line.problem is None]
    for task in dict.fromkeys(cell.task for cell in done):
        cells = _one_round([cell for cell in done if cell.task == task])
        files = {
            arm_name(cell.recipe, answer): plan.study.out / "runs" / cell.folder / answer
            for cell in cells
            for answer in plan.study.recipes[cell.recipe].answers
        }
        answers = {
            arm: (folder, read_predictions(folder / "predictions.jsonl"))
            for arm, folder in files.items()
        }
        title = f"{task}, {cells[0].size} training pictures, seed {cells[0].seed}"
        yield from _pictures(title, answers)


def _one_round(cells: list[Cell]) -> list[Cell]:
    """Return runs of one size and seed, in the order of the study."""
    largest = max(cell.size for cell in cells)
    cells = [cell for cell in cells if cell.size == largest]
    counts = Counter(cell.seed for cell in cells)
    seed = min(counts, key=lambda seed: (-counts[seed], seed))
    return [cell for cell in cells if cell.seed == seed]


def _pictures(
    title: str, answers: Mapping[str, tuple[Path, tuple[Prediction, ...]]]
) -> Iterator[ComparedPicture]:
    folder, rows = next(iter(answers.values()))
    for index in _spread([k for k, row in enumerate(rows) if row.truth]):
        row = rows[index]
        true = f"true: {_count(len(row.truth))}"
        shots = [shot(replace(row, predicted=()), folder, true)]
        for arm, (place, said) in answers.items():
            caption = f"{arm}: {_count(len(said[index].predicted))}"
            shots.append(shot(said[index], place, caption))
        seen = tuple(one for one in shots if one is not None)
        if len(seen) == len(shots):
            yield ComparedPicture(f"{title}: {row.image}", seen)


def _spread(indices: list[int]) -> list[int]:
    """Return a few of some indices, evenly."""
    count = min(PICTURES, len(indices))
    return [indices[k * len(indices) // count] for k in range(count)]


def _count(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"
