"""Two recipes against each other, over pictures and over seeds.

Held-out pictures are drawn anew with replacement, and seeds too, both recipes on the same draws:
what is hard for both cancels out, and so does a lucky seed's draw of training pictures. The figures
of a draw are the means over its seeds. A few seeds vary less than many would; the spread of the
draws is therefore widened by sqrt(n / (n - 1)), as a sample's variance is.

Not covered: the choice among many recipes. Ten comparisons at 95 % give one false verdict every
other time; a study says beforehand which comparisons it is about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from coordexp.evaluation.measure.bootstrap import Resampled, interval, resample
from coordexp.evaluation.measure.categories import CategoryMatching, UnknownDescs
from coordexp.evaluation.measure.instances import Floats, collect_instances
from coordexp.evaluation.measure.matching import match
from coordexp.evaluation.measure.predictions import read_predictions
from coordexp.evaluation.measure.scores import score_health

RESAMPLES = 500
SEED = 0
_FEWEST_SEEDS = 2

Words = Literal["better", "worse", "not told apart", "one seed"]

_MATCHING: CategoryMatching = "normalized"
_UNKNOWN: UnknownDescs = "bucket"


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one recipe's figure is above another's.

    Args:
        figure: Its name.
        this: Mean over the seeds.
        other: Mean over the same seeds of the other recipe.
        interval: Of the difference, at 95 %.
        seeds: How many both have.
    """

    figure: str
    this: float
    other: float
    interval: tuple[float, float] | None
    seeds: int

    @property
    def words(self) -> Words:
        """What the interval supports. One seed supports nothing, whatever its interval says."""
        if self.seeds < _FEWEST_SEEDS or self.interval is None:
            return "one seed"
        low, high = self.interval
        if low > 0:
            return "better"
        return "worse" if high < 0 else "not told apart"


def resample_run(predictions: Path) -> Resampled:
    """Return the figures of a run over draws of its pictures, the same draws for every run."""
    rows = read_predictions(predictions)
    instances = collect_instances(rows, matching=_MATCHING, unknown=_UNKNOWN)
    return resample(
        match(instances), score_health(instances.predicted), seed=SEED, resamples=RESAMPLES
    )


def difference(
    this: Mapping[int, Resampled], other: Mapping[int, Resampled], figure: str
) -> Difference | None:
    """Return the difference of two recipes, None where they have no seed in common.

    Args:
        this: Runs by seed.
        other: Runs of the other recipe by seed.
        figure: One of `coordexp.evaluation.measure.bootstrap.FIGURES`.
    """
    seeds = sorted(this.keys() & other.keys())
    if not seeds:
        return None
    gaps = np.stack([this[seed].drawn[figure] - other[seed].drawn[figure] for seed in seeds])
    actual = [this[seed].actual[figure] - other[seed].actual[figure] for seed in seeds]
    drawn = _over_seeds(gaps)
    count = len(seeds)
    if count >= _FEWEST_SEEDS:
        centre = float(np.mean(actual))
        drawn = centre + (drawn - centre) * np.sqrt(count / (count - 1))
    return Difference(
        figure=figure,
        this=_mean(this, seeds, figure),
        other=_mean(other, seeds, figure),
        interval=interval(drawn),
        seeds=count,
    )


def _over_seeds(gaps: Floats) -> Floats:
    """Return, for each draw of the pictures, the mean over a draw of the seeds.

    Args:
        gaps: `[seed, draw]`.
    """
    count, draws = gaps.shape
    chosen = np.random.default_rng([SEED, 2]).integers(count, size=(count, draws))
    means: Floats = np.take_along_axis(gaps, chosen, axis=0).mean(0)
    return means


def _mean(runs: Mapping[int, Resampled], seeds: Sequence[int], figure: str) -> float:
    return float(np.mean([runs[seed].actual[figure] for seed in seeds]))
