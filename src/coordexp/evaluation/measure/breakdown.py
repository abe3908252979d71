"""Where a model is good and where not: small objects, full images, one expression, repetition."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from coordexp.evaluation.measure.average_precision import LARGE_PX2, SMALL_PX2
from coordexp.evaluation.measure.instances import Bools, Floats, Instances, Ints
from coordexp.evaluation.measure.matching import IOU_THRESHOLDS, Matches, match, ratio, tally_images
from coordexp.evaluation.measure.overlap import overlap_tiles, pair_overlaps, turns

SIZE_NAMES = ("small", "medium", "large")
REFERRING_IOUS = (0.5, 0.75, 0.9)
REPEAT_IOU = 0.9
LEAST_BURST = 3


@dataclass(frozen=True, slots=True)
class RepeatCounts:
    """Objects that an answer says again.

    Args:
        repeats: Whether each prediction repeats a surer one: same class, boxes that overlap by
            `REPEAT_IOU`.
        bursts: Of each image, how often its most repeated object was said; 1 without repeats, 0
            without predictions.
    """

    repeats: Bools
    bursts: Ints


def find_repeats(instances: Instances) -> RepeatCounts:
    """Return what was said again; one burst is one object and all that repeats it."""
    predicted = instances.predicted
    turn = np.empty(len(predicted), dtype=np.int64)
    turn[turns(predicted)] = np.arange(len(predicted))
    times = np.ones(len(predicted), dtype=np.int64)
    repeats = np.zeros(len(predicted), dtype=np.bool_)
    for pairs in overlap_tiles(predicted, predicted, len(instances.sizes)):
        same = predicted.category[pairs.first] == predicted.category[pairs.second]
        surer = turn[pairs.first] < turn[pairs.second]
        near = pairs.chosen(same & surer & (pairs.iou >= REPEAT_IOU))
        for said, others, _ in near.by_second():
            kept = others[~repeats[others]]
            if len(kept):
                repeats[said] = True
                times[kept[turn[kept].argmin()]] += 1
    bursts = np.zeros(len(instances.sizes), dtype=np.int64)
    np.maximum.at(bursts, predicted.image, times)
    return RepeatCounts(repeats, bursts)


def repeats_to_json(instances: Instances, found: RepeatCounts) -> dict[str, Any]:
    """Return how much is said again, and F1 without it."""
    count = int(found.repeats.sum())
    without = None
    if count:
        rest = instances.without_predictions(found.repeats)
        without = number(tally_images(match(rest)).total().f1()[0, 0])
    bursts = int((found.bursts >= LEAST_BURST).sum())
    return {
        "iou": REPEAT_IOU,
        "objects": count,
        "share": number(ratio(np.array(count), np.array(len(instances.predicted)))),
        "images_with_burst": bursts,
        "burst_rate": bursts / len(instances.sizes),
        "longest_burst": int(found.bursts.max()),
        "F1@0.5_without": without,
    }


def recall_by_size(matches: Matches) -> list[dict[str, Any]]:
    """Return recall of small, medium and large true objects."""
    truth = matches.instances.truth
    size = np.digitize(truth.area, (SMALL_PX2, LARGE_PX2))
    return [
        {"size": name, **_recall(matches, truth.counted & (size == k))}
        for k, name in enumerate(SIZE_NAMES)
    ]


def recall_by_count(matches: Matches) -> list[dict[str, Any]]:
    """Return recall in images with 1, 2 to 3, 4 to 7, ... true objects."""
    truth = matches.instances.truth
    images = tally_images(matches)
    rows = []
    low = 1
    while low <= images.true.max():
        high = 2 * low - 1
        chosen = (images.true >= low) & (images.true <= high)
        rows.append(
            {
                "objects": str(low) if low == high else f"{low}-{high}",
                "images": int(chosen.sum()),
                "predicted": int(images.predicted[0][chosen].sum()),
                **_recall(matches, truth.counted & chosen[truth.image]),
            }
        )
        low = high + 1
    return rows


def referring_accuracy(matches: Matches) -> dict[str, Any]:
    """Return how often the surest box is right where there is one thing to find.

    An image with a single true object is taken as one referring expression. The surest prediction
    is compared with it, whatever it is called.
    """
    instances = matches.instances
    truth, predicted = instances.truth, instances.predicted
    real = np.flatnonzero(truth.counted)
    counts = np.bincount(truth.image, minlength=len(instances.sizes))
    single = real[counts[truth.image[real]] == 1]
    order = np.lexsort((np.arange(len(predicted)), -predicted.score, predicted.image))
    firsts = order[np.unique(predicted.image[order], return_index=True)[1]]
    surest = dict(zip(predicted.image[firsts].tolist(), firsts.tolist(), strict=True))
    asked = np.array([k for k in single.tolist() if int(truth.image[k]) in surest], dtype=np.int64)
    said = np.array([surest[image] for image in truth.image[asked].tolist()], dtype=np.int64)
    pairs = pair_overlaps(truth, predicted, asked, said)
    iou = np.zeros(len(truth))
    iou[pairs.first] = pairs.iou
    return {
        "expressions": len(single),
        **{
            f"accuracy@{threshold}": number((iou[single] >= threshold).mean())
            if len(single)
            else None
            for threshold in REFERRING_IOUS
        },
    }


def number(value: Floats | np.floating[Any]) -> float | None:
    """Return a figure as JSON has it: NaN is nothing."""
    return None if np.isnan(value) else float(value)


def _recall(matches: Matches, chosen: Bools) -> dict[str, Any]:
    true = int(chosen.sum())
    found = [int(matches.found(step)[chosen].sum()) for step in range(len(IOU_THRESHOLDS))]
    return {
        "true": true,
        "recall@0.5": found[0] / true if true else None,
        "recall@0.75": found[5] / true if true else None,
        "recall": sum(found) / len(found) / true if true else None,
    }
