"""Whether a score of 0.8 is right eight times in ten, and a map that makes it so.

A prediction is right if it finds a true object of its class at IoU 0.5. The expected calibration
error (ECE) puts predictions into ten equal bins by score and averages |share right - mean score|
over them, by their number of predictions.

A map is fitted on one half of the images and judged on the other. Both kinds keep the order of the
scores, and so every figure that only ranks. It is stored as JSON, with where it comes from.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from coordexp.errors import InputError
from coordexp.evaluation.measure.instances import Bools, Floats
from coordexp.evaluation.measure.matching import Matches
from coordexp.identity import file_digest

CalibrationMethod = Literal["isotonic", "logistic"]
BINS = 10
FORMAT = "coordexp calibration 1"
# Where an isotonic map is flat, this much of the raw score keeps the order.
_ORDER_KEPT = 1e-6
_LEAST = 1e-9


class UnfitError(InputError):
    """No map can be fitted to these predictions; every other figure can be had."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from raw scores to probabilities.

    Args:
        method: Which kind.
        x: `isotonic`: raw scores, rising; `logistic`: slope and offset over the log odds.
        y: `isotonic`: the probability at each `x`; empty for `logistic`.
        provenance: What it was fitted on.
    """

    method: CalibrationMethod
    x: tuple[float, ...]
    y: tuple[float, ...]
    provenance: Mapping[str, Any]

    def apply(self, scores: Floats) -> Floats:
        """Return calibrated scores, in the same order as the raw ones."""
        if self.method == "logistic":
            slope, offset = self.x
            return 1 / (1 + np.exp(-(slope * _log_odds(scores) + offset)))
        flat: Floats = np.interp(scores, self.x, self.y)
        return (1 - _ORDER_KEPT) * flat + _ORDER_KEPT * scores

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a calibration file."""
        return {
            "format": FORMAT,
            "method": self.method,
            "x": list(self.x),
            "y": list(self.y),
            "provenance": dict(self.provenance),
        }


def are_probabilities(scores: Floats) -> bool:
    """Return whether the scores could be probabilities at all."""
    return bool(((scores >= 0) & (scores <= 1)).all())


def reliability(scores: Floats, right: Bools) -> list[dict[str, Any]]:
    """Return, by bin, how many predictions there are, their mean score and the share right."""
    place = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    rows = []
    for k in range(BINS):
        chosen = place == k
        if count := int(chosen.sum()):
            rows.append(
                {
                    "from": k / BINS,
                    "to": (k + 1) / BINS,
                    "predictions": count,
                    "mean_score": float(scores[chosen].mean()),
                    "right": float(right[chosen].mean()),
                }
            )
    return rows


def expected_calibration_error(bins: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean distance of score and truth, over the bins of `reliability`.

    Example:
        >>> bins = reliability(np.array([0.25, 0.25, 0.75, 0.75]), np.array([0, 1, 1, 1]) > 0)
        >>> expected_calibration_error(bins)
        0.25
    """
    total = sum(row["predictions"] for row in bins)
    if not total:
        return None
    off = sum(row["predictions"] * abs(row["right"] - row["mean_score"]) for row in bins)
    return float(off / total)


def calibration_to_json(matches: Matches, images: Bools | None = None) -> dict[str, Any] | None:
    """Return ECE and its bins; None where scores are no probabilities.

    Args:
        matches: What was found.
        images: Which of them to look at; None is all.
    """
    scores, right, judged = _judged(matches)
    if images is not None:
        judged = judged & images[matches.instances.predicted.image]
    if not are_probabilities(scores[judged]):
        return None
    bins = reliability(scores[judged], right[judged])
    return {"ece": expected_calibration_error(bins), "iou": 0.5, "bins": bins}


def judged_calibration(
    applied: Calibration, matches: Matches, images: Sequence[str], digest: str
) -> dict[str, Any]:
    """Return ECE and its bins of calibrated scores, and what calibrated them.

    Where the map was fitted on half of these very predictions, only the other half is looked at.

    Args:
        applied: The map.
        matches: Of calibrated scores.
        images: Their paths.
        digest: Of the predictions file.
    """
    own = applied.provenance.get("sha256") == digest
    unseen = held_out(images, seed=applied.provenance["seed"]) if own else None
    return {
        **(calibration_to_json(matches, unseen) or {}),
        "images": "held-out half" if own else "all",
        "applied": {"method": applied.method, **applied.provenance},
    }


def held_out(images: Sequence[str], *, seed: int) -> Bools:
    """Return which images a fit does not see: half, by a hash of their name.

    By name and not by place, so that the answer is the same for any order and part of a file.
    """
    digests = (hashlib.sha256(f"{seed}:{image}".encode()).digest() for image in images)
    return np.array([digest[0] % 2 for digest in digests], dtype=np.bool_)


def fit_calibration(
    matches: Matches,
    images: Sequence[str],
    method: CalibrationMethod,
    *,
    seed: int,
    source: Path,
) -> Calibration:
    """Return a map fitted on half of the images; its provenance tells ECE on the other half.

    Args:
        matches: Of raw scores.
        images: Their paths.
        method: Which kind.
        seed: Of the split.
        source: The predictions file.

    Raises:
        UnfitError: If scores are no probabilities, or the half to fit on holds only right or only
            wrong predictions.
    """
    scores, right, judged = _judged(matches)
    if not are_probabilities(scores):
        raise UnfitError("no calibration was fitted: there are scores outside 0 to 1")
    apart = held_out(images, seed=seed)
    unseen = apart[matches.instances.predicted.image]
    seen, unseen = judged & ~unseen, judged & unseen
    if len(np.unique(right[seen])) < 2 or not unseen.any():  # noqa: PLR2004 - right and wrong
        raise UnfitError(_too_few(int(right[seen].sum()), int(seen.sum()), int(unseen.sum())))
    fit = _fit_isotonic if method == "isotonic" else _fit_logistic
    x, y = fit(scores[seen], right[seen])
    if method == "logistic" and x[0] <= 0:
        raise UnfitError("no calibration was fitted: scores do not rise with being right")
    unplaced = Calibration(method, x, y, {})
    before, after = (
        expected_calibration_error(reliability(values[unseen], right[unseen]))
        for values in (scores, unplaced.apply(scores))
    )
    provenance = {
        "coordexp": version("coordexp"),
        "predictions": source.name,
        "sha256": file_digest(source),
        "seed": seed,
        "matching": matches.instances.categories.matching,
        "iou": 0.5,
        "fitted_images": int((~apart).sum()),
        "fitted_predictions": int(seen.sum()),
        "held_out_images": int(apart.sum()),
        "held_out_predictions": int(unseen.sum()),
        "held_out_ece_before": before,
        "held_out_ece_after": after,
    }
    return Calibration(method, x, y, provenance)


def _too_few(right: int, seen: int, unseen: int) -> str:
    """Return why a map cannot be fitted."""
    start = "no calibration was fitted: "
    if not seen + unseen:
        return start + "there is no prediction"
    if not unseen:
        return start + "no prediction is on the half of the images that it would be judged on"
    if not seen:
        return start + "no prediction is on the half of the images to fit on"
    half = f"{seen} predictions on the half of the images to fit on"
    return start + f"it takes right and wrong ones, and of the {half} {right} are right"


def load_calibration(path: Path) -> Calibration:
    """Return the map that a file holds.

    Raises:
        InputError: If it cannot be read or is no calibration file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    match data:
        case {"format": str(name), "method": "isotonic" | "logistic" as method} if name == FORMAT:
            x, y = _knots(data.get("x")), _knots(data.get("y"))
        case _:
            raise InputError(f"{path}: not a calibration file of coordexp evaluate")
    if not (_rises(x, y) if method == "isotonic" else len(x) == 2 and x[0] > 0):  # noqa: PLR2004
        raise InputError(f"{path}: x and y are no rising map; fit it anew")
    return Calibration(method, x, y, data.get("provenance", {}))


def _judged(matches: Matches) -> tuple[Floats, Bools, Bools]:
    """Return score, whether right, and whether judged at all, of each prediction."""
    return matches.instances.predicted.score, matches.correct[0], matches.judged[0]


def _log_odds(scores: Floats) -> Floats:
    inside = np.clip(scores, _LEAST, 1 - _LEAST)
    return np.log(inside) - np.log1p(-inside)


def _fit_isotonic(scores: Floats, right: Bools) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - takes a second

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, right)
    return tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist())


def _fit_logistic(scores: Floats, right: Bools) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes a second

    fitted = LogisticRegression().fit(_log_odds(scores)[:, None], right)
    return (float(fitted.coef_[0, 0]), float(fitted.intercept_[0])), ()


def _knots(values: object) -> tuple[float, ...]:
    if not isinstance(values, list):
        return ()
    numbers = [value for value in values if isinstance(value, int | float)]
    return tuple(float(value) for value in numbers if math.isfinite(value))


def _rises(x: Sequence[float], y: Sequence[float]) -> bool:
    rising = all(a < b for a, b in pairwise(x))
    level = all(a <= b for a, b in pairwise(y))
    return len(x) == len(y) > 0 and rising and level
