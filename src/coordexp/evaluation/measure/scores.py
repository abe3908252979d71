"""Whether the scores can rank anything.

Average precision reads predictions from the surest down. Where scores are equal it reads them in
the order of the images, and the figure becomes a matter of file order. So ties are measured, and
where they are common AP is averaged over shuffled image orders and carries its standard deviation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coordexp.evaluation.measure.average_precision import (
    CocoFigures,
    CocoResult,
    coco_figures,
)
from coordexp.evaluation.measure.coco_dataset import CocoKind
from coordexp.evaluation.measure.instances import Instances, Objects

COMMON_TIES = 0.1
IMAGE_ORDERS = 20


@dataclass(frozen=True, slots=True)
class ScoreHealth:
    """How well the scores separate the predictions.

    Args:
        constant: Whether there are several predictions and all have one score.
        tied_fraction: The share of predictions whose score another prediction of the same class
            also has.
    """

    constant: bool
    tied_fraction: float

    @property
    def ranks(self) -> bool:
        """Whether the order of the predictions comes from the scores and not from the file."""
        return not self.constant and self.tied_fraction < COMMON_TIES

    def warning(self) -> str | None:
        """Return what a reader must know before comparing AP, or None where all is well."""
        if self.ranks:
            return None
        what = (
            "All predictions have the same score"
            if self.constant
            else f"{self.tied_fraction:.0%} of the predictions share their score with another one"
        )
        return (
            f"{what}, so average precision depends on the order of the images. AP and AR are means "
            f"over {IMAGE_ORDERS} shuffled orders. Trust F1: it ranks nothing between images."
        )


@dataclass(frozen=True, slots=True)
class RankedResult:
    """COCO's figures, and their standard deviation over image orders where scores are tied."""

    figures: CocoResult
    sd: CocoFigures | None


def score_health(predicted: Objects) -> ScoreHealth:
    """Return how well the scores separate the predictions."""
    if not len(predicted):
        return ScoreHealth(constant=False, tied_fraction=0.0)
    # Stable, so that equal pairs of class and score become neighbours.
    order = np.lexsort((predicted.score, predicted.category))
    category, score = predicted.category[order], predicted.score[order]
    same = (category[1:] == category[:-1]) & (score[1:] == score[:-1])
    tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    return ScoreHealth(
        constant=len(score) > 1 and bool((score == score[0]).all()),
        tied_fraction=float(tied.mean()),
    )


def ranked_figures(
    instances: Instances, kind: CocoKind, health: ScoreHealth, *, seed: int
) -> RankedResult:
    """Return COCO's figures; where scores are tied, their means over shuffled image orders."""
    if health.ranks:
        return RankedResult(coco_figures(instances, kind), sd=None)
    shuffle = np.random.default_rng(seed)
    images = len(instances.sizes)
    results = [
        coco_figures(instances, kind, image_order=shuffle.permutation(images).tolist())
        for _ in range(IMAGE_ORDERS)
    ]
    mean, sd = _mean_and_sd([result.overall for result in results])
    per_class = {
        number: _mean_and_sd([result.per_class[number] for result in results])[0]
        for number in results[0].per_class
    }
    precision = np.mean([result.precision for result in results], axis=0)
    return RankedResult(CocoResult(mean, per_class, precision), sd=sd)


def _mean_and_sd(several: Sequence[CocoFigures]) -> tuple[CocoFigures, CocoFigures]:
    rows = [figures.to_json() for figures in several]
    means: dict[str, float | None] = {}
    sds: dict[str, float | None] = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        means[name] = float(np.mean(values)) if values else None
        sds[name] = float(np.std(values, ddof=1)) if values else None
    return CocoFigures(**means), CocoFigures(**sds)
