"""Precision, recall and F1 of what has at least a score, and the score at which F1 is best.

In a matching the surest take their turns first, so what a cut leaves is matched as it was before:
the figures at every score come from one table of matches, at IoU 0.5. What is not judged is no
part of them.

The best score is chosen on the pictures that it is judged on, and that flatters it. So there stands
beside its F1 what is left of it on pictures that had no part in the choice: each half of them, as
calibration splits them, is cut at the score that is best for the other half.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from coordexp.evaluation.measure.bootstrap import RESAMPLES, draws, interval
from coordexp.evaluation.measure.breakdown import number
from coordexp.evaluation.measure.calibration import held_out
from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.matching import IOU_THRESHOLDS, Matches, ratio

MOST_ROWS = 101


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left from a score on.

    Args:
        score: The lowest that is left.
        F1: Of what is left.
        precision: Of what is left.
        recall: None where nothing is true.
    """

    score: float
    F1: float
    precision: float
    recall: float | None


@dataclass(frozen=True, slots=True)
class ScoreCurve:
    """Figures over the score, one entry for each score that there is, the highest first.

    Args:
        score: The lowest that is left; falls.
        precision: NaN where nothing is left: images may have no weight.
        recall: NaN where nothing is true.
        f1: NaN where neither is.
    """

    score: Floats
    precision: Floats
    recall: Floats
    f1: Floats

    def best(self) -> Cut | None:
        """Return the cut of the best F1, of equal ones the highest; None where nothing is found."""
        return self._at(int(np.nanargmax(self.f1))) if np.any(self.f1 > 0) else None

    def thinned(self, most: int = MOST_ROWS) -> "ScoreCurve":
        """Return the curve at so many of its scores, the highest and the lowest among them."""
        last = len(self.score) - 1
        places = np.unique(np.linspace(0, max(last, 0), most).round().astype(np.int64))
        places = places[places <= last]  # there may be none
        return ScoreCurve(
            self.score[places], self.precision[places], self.recall[places], self.f1[places]
        )

    def rows(self) -> list[dict[str, float | None]]:
        """Return the cuts as JSON values, the highest score first."""
        return [asdict(self._at(place)) for place in range(len(self.score))]

    def _at(self, place: int) -> Cut:
        return Cut(
            score=float(self.score[place]),
            F1=float(self.f1[place]),
            precision=float(self.precision[place]),
            recall=number(self.recall[place]),
        )


@dataclass(frozen=True, slots=True)
class ScoreCuts:
    """Figures over the score, of all classes and of each.

    Args:
        curve: Of all predictions together.
        best: Where its F1 is best.
        interval: Of that score, over draws of the images; None where a draw has nothing to find.
        unseen: F1 where each half of the images is cut at the other's best score.
        classes: The curve of each class, in id order.
    """

    curve: ScoreCurve
    best: Cut | None
    interval: tuple[float, float] | None
    unseen: float | None
    classes: tuple[ScoreCurve, ...]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return what `metrics.json` holds of it.

        Args:
            names: Of the classes, in id order.
        """
        best = None
        if self.best is not None:
            best = {
                **asdict(self.best),
                "interval": None if self.interval is None else list(self.interval),
                "chosen_on": "the images that it is judged on",
                "F1_unseen": self.unseen,
            }
        return {
            "iou": IOU_THRESHOLDS[0],
            "best_f1": best,
            "curve": self.curve.thinned().rows(),
            "per_class": [
                {"class": name, "best_f1": None if (cut := curve.best()) is None else asdict(cut)}
                for name, curve in zip(names, self.classes, strict=True)
            ],
        }


def score_cuts(
    matches: Matches, images: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> ScoreCuts:
    """Return the figures over the score.

    Args:
        matches: What was found.
        images: Paths of the images.
        seed: Of the draws, and of the halves.
        resamples: How many draws.
    """
    truth, predicted = matches.instances.truth, matches.instances.predicted
    whole = _Falling.of(matches, np.ones(len(predicted), np.bool_), np.ones(len(truth), np.bool_))
    every = np.ones(len(images))
    curve = whole.curve(every)
    return ScoreCuts(
        curve=curve,
        best=curve.best(),
        interval=interval(_best_scores(whole, len(images), seed=seed, resamples=resamples)),
        unseen=_unseen(whole, held_out(images, seed=seed)),
        classes=tuple(
            _Falling.of(matches, predicted.category == k, truth.category == k).curve(every)
            for k in range(1, matches.instances.categories.bucket_id)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Falling:
    """Predictions that are judged, the surest first.

    Args:
        image: Of each.
        correct: Whether it found something.
        score: Of each group that has one score, and so falls together.
        ends: The last prediction of each group.
        true: Of each image, how many objects there are.
    """

    image: Ints
    correct: Bools
    score: Floats
    ends: Ints
    true: Ints

    @classmethod
    def of(cls, matches: Matches, chosen: Bools, true: Bools) -> "_Falling":
        """Return the predictions that are chosen and judged, beside what is true."""
        predicted, truth = matches.instances.predicted, matches.instances.truth
        places = np.flatnonzero(chosen & matches.judged[0])
        places = places[np.argsort(-predicted.score[places], kind="stable")]
        score = predicted.score[places]
        images = len(matches.instances.sizes)
        last = np.ones(len(score), dtype=np.bool_)
        last[:-1] = score[1:] != score[:-1]
        return cls(
            image=predicted.image[places],
            correct=matches.correct[0, places],
            score=score[last],
            ends=np.flatnonzero(last),
            true=np.bincount(truth.image[true & truth.counted], minlength=images),
        )

    def counts(self, weights: Floats) -> tuple[Floats, Floats, float]:
        """Return what is found and what is left from each score on, and how much is true.

        Args:
            weights: How often each image counts.
        """
        own = weights[self.image]
        found, left = np.cumsum(self.correct * own)[self.ends], np.cumsum(own)[self.ends]
        return found, left, float(weights @ self.true)

    def curve(self, weights: Floats) -> ScoreCurve:
        """Return the figures; arguments as for `counts`."""
        found, left, true = self.counts(weights)
        every = np.full_like(found, true)
        return ScoreCurve(
            self.score, ratio(found, left), ratio(found, every), ratio(2 * found, every + left)
        )


def _best_scores(whole: _Falling, images: int, *, seed: int, resamples: int) -> Floats:
    """Return the best score of each draw, NaN where it has nothing to find."""
    if not len(whole.score):
        return np.full(resamples, np.nan)
    best = []
    for weights in draws(images, seed=seed, resamples=resamples):
        found, left, true = whole.counts(weights)
        # Half of F1; where something is found, something is true.
        best.append(float(whole.score[np.argmax(found / (true + left))]) if found[-1] else np.nan)
    return np.array(best)


def _unseen(whole: _Falling, apart: Bools) -> float | None:
    """Return F1 where each half is cut at the other's best score; None where one finds nothing."""
    found = left = true = 0.0
    for half in (apart, ~apart):
        other = whole.curve((~half).astype(np.float64)).best()
        if other is None:
            return None
        own_found, own_left, own_true = whole.counts(half.astype(np.float64))
        place = int(np.searchsorted(-whole.score, -other.score, side="right")) - 1
        found, left, true = found + own_found[place], left + own_left[place], true + own_true
    return number(ratio(np.array(2 * found), np.array(true + left)))
