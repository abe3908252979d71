"""How far figures would move with other images of the same kind.

Images are drawn anew with replacement, a thousand times, and the figures computed from the cached
matches of those drawn; the middle 95 % are the interval. Two models are compared on the same draws,
so that what is hard for both cancels out. Where scores are tied, each draw has its own image order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.instances import Floats
from coordexp.evaluation.measure.matching import MatchCounts, Matches, tally_images
from coordexp.evaluation.measure.ranking import Ranking, rank
from coordexp.evaluation.measure.scores import ScoreHealth

RESAMPLES = 1000
LEVEL = 0.95
FIGURES = ("AP", "AP50", "AP75", "F1@0.5", "F1@0.95", "F1@mIoU", "recall@0.5", "mean_best_iou")


@dataclass(frozen=True, slots=True)
class Resampled:
    """Figures as they are, and over the draws.

    Args:
        actual: Of the images themselves; NaN where there is nothing to measure.
        drawn: The same, one value a draw.
    """

    actual: Mapping[str, float]
    drawn: Mapping[str, Floats]


def resample(
    matches: Matches, health: ScoreHealth, *, seed: int, resamples: int = RESAMPLES
) -> Resampled:
    """Return the figures over draws of the images; equal seeds and numbers of images draw equally.

    Args:
        matches: Of the file.
        health: Of its scores.
        seed: Of the draws.
        resamples: How many.
    """
    source = _FixedParts(matches)
    images = len(matches.instances.sizes)
    whole = rank(matches)
    orders = np.random.default_rng([seed, 1])
    rows = []
    for weights in draws(images, seed=seed, resamples=resamples):
        ranking = whole if health.ranks else rank(matches, orders.permutation(images))
        rows.append(source.figures(ranking, weights))
    return Resampled(
        actual=source.figures(whole, np.ones(images)),
        drawn={name: np.array([row[name] for row in rows]) for name in FIGURES},
    )


def draws(images: int, *, seed: int, resamples: int) -> Iterator[Floats]:
    """Yield how often each image was drawn."""
    random = np.random.default_rng([seed, 0])
    for _ in range(resamples):
        chosen = random.integers(images, size=images)
        yield np.bincount(chosen, minlength=images).astype(np.float64)


def interval(values: Floats) -> tuple[float, float] | None:
    """Return the middle `LEVEL` of the values, None where some could not be measured.

    Example:
        >>> interval(np.arange(1001.0))
        (25.0, 975.0)
    """
    if not len(values) or bool(np.isnan(values).any()):
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return round(float(low), 12), round(float(high), 12)


def intervals_to_json(resampled: Resampled) -> dict[str, object]:
    """Return the intervals by figure."""
    return {
        "level": LEVEL,
        "resamples": len(resampled.drawn["AP"]),
        **{name: interval(values) for name, values in resampled.drawn.items()},
    }


def comparison_to_json(this: Resampled, other: Resampled) -> dict[str, object]:
    """Return, by figure, both values, their difference and its interval.

    `worse_share` is the share of draws in which this file was not better.
    """
    return {
        name: {
            "this": _shown(this.actual[name]),
            "other": _shown(other.actual[name]),
            "difference": _shown(this.actual[name] - other.actual[name]),
            "interval": interval(this.drawn[name] - other.drawn[name]),
            "worse_share": float((this.drawn[name] <= other.drawn[name]).mean()),
        }
        for name in FIGURES
    }


def _shown(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class _FixedParts:
    """What is the same in every draw."""

    def __init__(self, matches: Matches) -> None:
        truth = matches.instances.truth
        real = truth.counted
        self._tally = tally_images(matches)
        self._best = np.bincount(
            truth.image[real],
            weights=matches.nearest.best_iou[real],
            minlength=len(matches.instances.sizes),
        )

    def figures(self, ranking: Ranking, weights: Floats) -> dict[str, float]:
        precision = ranking.average_precision(weights)
        drawn = _weighted(self._tally, weights)
        f1 = drawn.f1()[:, 0]
        true = max(float(drawn.true[0]), np.finfo(float).tiny)
        recall, best = drawn.found[0, 0] / true, weights @ self._best / true
        values = (precision.mean(), precision[0], precision[5], f1[0], f1[-1], f1.mean())
        figures = zip(FIGURES, (*values, recall, best), strict=True)
        return {name: float(value) if drawn.true[0] else float("nan") for name, value in figures}


def _weighted(tally: MatchCounts, weights: Floats) -> MatchCounts:
    return MatchCounts(
        np.array([tally.true @ weights]),
        (tally.found @ weights)[:, None],
        (tally.predicted @ weights)[:, None],
    )
