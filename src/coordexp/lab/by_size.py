"""How average precision grows with the number of training pictures."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from coordexp.lab.results import Line, arm_name
from coordexp.lab.study import Cell

Curve = list[tuple[float, float]]


def ap_by_size(lines: Mapping[Cell, Line | None]) -> dict[str, dict[str, Curve]]:
    """Return a curve for every arm of every task: training pictures, and mean AP over the seeds.

    A task with one size has none: a point is no curve. Runs that failed are left out, and so are
    recipes that are not trained where they were asked at one size only.
    """
    found: defaultdict[str, defaultdict[str, defaultdict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for cell, line in lines.items():
        if line is None or line.problem is not None:
            continue
        for answer, figures in line.figures.items():
            found[cell.task][arm_name(cell.recipe, answer)][cell.size].append(figures["AP"])
    return {
        task: curves
        for task, arms in found.items()
        if (
            curves := {
                arm: [(float(size), float(np.mean(aps))) for size, aps in sorted(sizes.items())]
                for arm, sizes in arms.items()
                if len(sizes) > 1
            }
        )
    }
