"""The figures of points, as they stand in `metrics.json`; none depends on scores."""

from typing import Any

import numpy as np

from coordexp.evaluation.measure.instances import Bools
from coordexp.evaluation.measure.points import SHARES, JudgedPoints, PointMatches, tally_points


def share_name(share: float) -> str:
    """Return a share of the diagonal as keys of figures name it, such as `2%`."""
    return f"{share:.0%}"


def point_figures(matches: PointMatches) -> dict[str, Any] | None:
    """Return the figures of points, None where there is no point, true or predicted."""
    true, said = matches.instances.true_points, matches.instances.predicted_points
    if not matches:
        return None
    names = matches.instances.categories.names
    return {
        "true": int(true.counted.sum()),
        "predicted": len(said),
        "distance": _distance(matches.distance),
        "inside": _inside(matches.inside),
        "per_class": [
            row
            for number, name in enumerate(names, 1)
            if (row := _class_row(matches, number, name))
        ],
    }


def point_counts(matches: PointMatches) -> list[dict[str, int]]:
    """Return what `per_image.jsonl` says of the points of each image."""
    counts = tally_points(matches)
    columns = (counts.true.tolist(), counts.predicted.tolist(), counts.right.tolist())
    return [
        {"true": true, "predicted": predicted, "right": right}
        for true, predicted, right in zip(*columns, strict=True)
    ]


def _distance(judged: JudgedPoints) -> dict[str, Any] | None:
    if not judged.sought.any():
        return None
    apart = judged.right_from[judged.right(SHARES[-1])]
    return {
        "judged": int(judged.judged.sum()),
        **{
            f"{figure}@{share_name(share)}": value
            for share in SHARES
            for figure, value in _figures(judged, share).items()
        },
        "mean_distance": float(apart.mean()) if len(apart) else None,
    }


def _inside(judged: JudgedPoints) -> dict[str, Any] | None:
    if not judged.judged.any() or not judged.sought.any():
        return None
    return {
        "true": int(judged.sought.sum()),
        "judged": int(judged.judged.sum()),
        **_figures(judged, 0.0),
    }


def _class_row(matches: PointMatches, category: int, name: str) -> dict[str, Any] | None:
    """Return the figures of a class, None where it has neither a true nor a predicted point."""
    instances = matches.instances
    said = instances.predicted_points.category == category
    points = instances.true_points.category == category
    if not said.any() and not points.any():
        return None
    distance = _chosen(matches.distance, said, points)
    inside = _chosen(matches.inside, said, instances.truth.category == category)
    hits = _inside(inside)
    return {
        "class": name,
        "true": int(distance.sought.sum()),
        "predicted": int(said.sum()),
        **{f"F1@{share_name(share)}": _figures(distance, share)["F1"] for share in SHARES},
        "F1 inside": None if hits is None else hits["F1"],
    }


def _chosen(judged: JudgedPoints, said: Bools, there: Bools) -> JudgedPoints:
    return JudgedPoints(
        judged.right_from,
        judged.passed_from,
        judged.judged & said,
        judged.found_from,
        judged.sought & there,
    )


def _figures(judged: JudgedPoints, share: float) -> dict[str, float | None]:
    """Return precision, recall and F1."""
    right, counted = judged.right(share), judged.counted(share)
    found, predicted, true = (int(np.sum(each)) for each in (right, counted, judged.sought))
    return {
        "F1": _quotient(2 * found, predicted + true),
        "precision": _quotient(found, predicted),
        "recall": _quotient(found, true),
    }


def _quotient(part: int, whole: int) -> float | None:
    return part / whole if whole else None
