"""The figures of a run that its line keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coordexp.evaluation.evaluate import EvaluateOptions, compute_figures, write_figures
from coordexp.evaluation.measure.instances import Instances
from coordexp.evaluation.measure.matching import IOU_THRESHOLDS, Matches
from coordexp.evaluation.measure.ranking import rank

BINS = 999
"""Steps on an axis: an error of 1 is that share of a picture's side."""


def score_run(predictions: Path, out: Path) -> dict[str, Any]:
    """Write the figures of a predictions file into a folder and return those that a line keeps."""
    computed = compute_figures(predictions, EvaluateOptions())
    write_figures(out, computed)
    matches = computed.evaluation.matches
    return {
        **_chosen(computed.metrics),
        "AP90": _ap_at(matches, 0.9),
        "mean_bin_error": mean_bin_error(matches),
        "boxes": len(matches.instances.predicted),
    }


def _chosen(metrics: Mapping[str, Any]) -> dict[str, Any]:
    bbox, f1, parse = metrics["bbox"], metrics["f1"], metrics["parse"]
    calibration = metrics["calibration"]
    return {
        **{name: bbox[name] for name in ("AP", "AP50", "AP75")},
        **f1,
        "parse_ok_share": parse["ok_share"],
        "duplicate_share": metrics["duplicates"]["share"],
        "ece": None if calibration is None else calibration["ece"],
        "recall_by_count": metrics["recall_by_count"],
    }


def _ap_at(matches: Matches, threshold: float) -> float:
    weights = np.ones(len(matches.instances.sizes))
    return float(rank(matches).average_precision(weights)[IOU_THRESHOLDS.index(threshold)])


def mean_bin_error(matches: Matches) -> float | None:
    """Return how far the edges of objects found at IoU 0.5 are off, in bins; None where none is.

    It looks at found objects only, so that it says how sharp boxes are and not how many.
    """
    found = matches.correct[0]
    if not found.any():
        return None
    instances = matches.instances
    true = instances.truth.boxes[matches.truth_of[0][found]]
    said = instances.predicted.boxes[found]
    sides = _sides(instances)[instances.predicted.image[found]]
    return float((np.abs(said - true) / sides).mean() * BINS)


def _sides(instances: Instances) -> np.ndarray[Any, np.dtype[np.float64]]:
    sizes = np.asarray(instances.sizes, dtype=np.float64)
    return np.concatenate([sizes, sizes], axis=1)
