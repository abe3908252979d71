"""One row for each class, one for each image."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from coordexp.evaluation.measure.average_precision import CocoFigures
from coordexp.evaluation.measure.breakdown import RepeatCounts, number
from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.matching import MatchCounts, Matches, ratio
from coordexp.evaluation.measure.mistakes import MISTAKE_KINDS, Mistakes
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scores import RankedResult

Row = dict[str, Any]

PER_CLASS_COLUMNS = (
    "class",
    "true",
    "predicted",
    "AP",
    "AP50",
    "AP75",
    "AR100",
    "F1@0.5",
    "F1@mIoU",
    "precision@0.5",
    "recall@0.5",
)


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """What was found in each image, as arrays over the images.

    Args:
        tally: The counts.
        mistakes: `[kind, image]`, in the order of `MISTAKE_KINDS`.
        bursts: How often the most repeated object was said.
    """

    tally: MatchCounts
    mistakes: Ints
    bursts: Ints


def class_rows(
    names: Sequence[str], classes: MatchCounts, bbox: RankedResult, segm: RankedResult | None
) -> list[Row]:
    """Return the figures of each class, those of masks where there are any.

    Args:
        names: In id order.
        classes: Counts by category id.
        bbox: Of boxes.
        segm: Of masks.
    """
    f1 = classes.f1()
    precision = ratio(classes.found[0], classes.predicted[0])
    recall = ratio(classes.found[0], classes.true)
    nothing = CocoFigures(*[None] * len(fields(CocoFigures)))
    rows = []
    for category, name in enumerate(names, start=1):
        boxes = bbox.figures.per_class.get(category, nothing)
        row: Row = {
            "class": name,
            "true": int(classes.true[category]),
            "predicted": int(classes.predicted[0, category]),
            "AP": boxes.AP,
            "AP50": boxes.AP50,
            "AP75": boxes.AP75,
            "AR100": boxes.AR100,
            "F1@0.5": number(f1[0, category]),
            "F1@mIoU": number(f1[:, category].mean()),
            "precision@0.5": number(precision[category]),
            "recall@0.5": number(recall[category]),
        }
        if segm is not None:
            row["segm AP"] = segm.figures.per_class.get(category, nothing).AP
        rows.append(row)
    return rows


def image_columns(
    matches: Matches, tally: MatchCounts, mistakes: Mistakes, repeats: RepeatCounts
) -> ImageColumns:
    """Return what was found in each image."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    images = len(matches.instances.sizes)

    def count(image: Ints, keep: Bools) -> Ints:
        return np.bincount(image[keep], minlength=images)

    counts = [count(truth.image, mistakes.missed)]
    counts += [
        count(predicted.image, mistakes.kind == kind) for kind in range(1, len(MISTAKE_KINDS))
    ]
    return ImageColumns(tally, np.stack(counts), repeats.bursts)


def image_rows(
    predictions: Sequence[Prediction], matches: Matches, images: ImageColumns
) -> list[Row]:
    """Return the lines of `per_image.jsonl`."""
    f1 = images.tally.f1()
    mean_f1 = f1.mean(axis=0)
    nearest = [
        _means(matches, best)
        for best in (matches.nearest.best_iou, matches.nearest.best_iou_any_class)
    ]
    rows = []
    for k, row in enumerate(predictions):
        kinds = dict(zip(MISTAKE_KINDS, images.mistakes[:, k].tolist(), strict=True))
        rows.append(
            {
                "image": row.image,
                "true": int(images.tally.true[k]),
                "predicted": int(images.tally.predicted[0, k]),
                "found@0.5": int(images.tally.found[0, k]),
                "F1@0.5": number(f1[0, k]),
                "F1@mIoU": number(mean_f1[k]),
                "mean_best_iou": number(nearest[0][k]),
                "mean_best_iou_any_class": number(nearest[1][k]),
                "mistakes": {name: count for name, count in kinds.items() if count},
                "parse": row.status,
                "dropped": len(row.dropped),
                "finish_reason": row.finish_reason,
            }
        )
    return rows


def _means(matches: Matches, best: Floats) -> Floats:
    """Return the mean of a value of the true objects, by image; NaN without any."""
    truth, images = matches.instances.truth, len(matches.instances.sizes)
    image = truth.image[truth.counted]
    sums = np.bincount(image, weights=best[truth.counted], minlength=images)
    return ratio(sums, np.bincount(image, minlength=images))
