"""COCO's precision and recall where a picture holds so many objects that its table would not fit.

COCO's tools hold the overlap of every prediction with every true object of a picture and class at
once: for 20,000 of each, 3 GB in Python and as much again in C++. Here the rows of that table come
a few at a time, by the same function of faster-coco-eval, are matched greedily and forgotten. The
figures are equal (a property that is tested); it is slower for ordinary pictures, and so not used
for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from faster_coco_eval.core import mask

from coordexp.evaluation.measure.greedy import IOU_THRESHOLDS, STEPS, Rivalry, Taking
from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.overlap import Overlaps

RECALLS = np.linspace(0.0, 1.0, 101)
# Pairs whose overlaps may be held at once, here and in faster-coco-eval's own table.
PAIRS_AT_ONCE, MOST_PAIRS = 2_000_000, 20_000_000

Row = dict[str, Any]
Cell = tuple[int, int]


def is_too_large(truth: Sequence[Row], predicted: Sequence[Row], most: int) -> bool:
    """Return whether faster-coco-eval's table of overlaps would take too much memory.

    Args:
        truth: Annotations, as COCO's.
        predicted: Results, as COCO's.
        most: Predictions per image and class that count.
    """
    true, said = _cells(truth), _cells(predicted)
    return sum(len(true[c]) * min(len(said[c]), most) for c in true.keys() & said) > MOST_PAIRS


def tiled_figures(
    truth: Sequence[Row],
    predicted: Sequence[Row],
    *,
    categories: Sequence[int],
    area_ranges: Sequence[Sequence[float]],
    max_dets: Sequence[int],
    unjudged: Bools,
) -> tuple[Floats, Floats]:
    """Return COCO's precision `[iou, recall, class, size, max_dets]` and recall, without `recall`.

    Args:
        truth: Annotations, as COCO's.
        predicted: Results, in the order of the images.
        categories: The classes that count.
        area_ranges: Of the sizes.
        max_dets: Numbers of predictions per image and class, rising.
        unjudged: Of each prediction, whether it is no mistake where it finds nothing.
    """
    score = np.array([row["score"] for row in predicted], dtype=np.float64)
    category = np.array([row["category_id"] for row in predicted], dtype=np.int64)
    place = _places(predicted, score)
    takings = _matched(truth, predicted, place, area_ranges, max_dets[-1])
    shape = (len(categories), len(area_ranges), len(max_dets))
    precision = np.full((STEPS, len(RECALLS), *shape), -1.0)
    recall = np.full((STEPS, *shape), -1.0)
    order = np.argsort(-score, kind="stable")
    columns = enumerate(categories), enumerate(area_ranges), enumerate(max_dets)
    for (k, number), (a, limits), (m, most) in product(*columns):
        own = np.array([row["category_id"] == number for row in truth], dtype=np.bool_)
        true = int((own & ~_passed(truth, limits)).sum())
        if not true:
            continue
        counted = order[(category[order] == number) & (place[order] < most)]
        found = takings[a].truth_of[:, counted] >= 0
        outside = _is_outside(predicted, limits) | unjudged
        wrong = ~found & ~takings[a].excused[:, counted] & ~outside[counted]
        precision[:, :, k, a, m], recall[:, k, a, m] = _curve(found, wrong, true)
    return precision, recall


def _cells(rows: Sequence[Row]) -> Mapping[Cell, list[int]]:
    """Return the places of the rows of each image and class."""
    cells: dict[Cell, list[int]] = {}
    for place, row in enumerate(rows):
        cells.setdefault((row["image_id"], row["category_id"]), []).append(place)
    return cells


def _places(predicted: Sequence[Row], score: Floats) -> Ints:
    """Return of each prediction how many of its image and class are surer."""
    place = np.zeros(len(predicted), dtype=np.int64)
    for members in _cells(predicted).values():
        ranked = np.array(members)[np.argsort(-score[members], kind="stable")]
        place[ranked] = np.arange(len(ranked))
    return place


def _is_outside(rows: Sequence[Row], limits: Sequence[float]) -> Bools:
    area = np.array([row["area"] for row in rows], dtype=np.float64)
    return (area < limits[0]) | (area > limits[1])


def _passed(truth: Sequence[Row], limits: Sequence[float]) -> Bools:
    crowd = np.array([row["iscrowd"] for row in truth], dtype=np.bool_)
    return crowd | _is_outside(truth, limits)


def _matched(
    truth: Sequence[Row],
    predicted: Sequence[Row],
    place: Ints,
    area_ranges: Sequence[Sequence[float]],
    most: int,
) -> list[Taking]:
    """Return who finds what, for each range of sizes."""
    crowd = np.array([row["iscrowd"] for row in truth], dtype=np.bool_)
    takings = [
        Taking(len(predicted), passed=_passed(truth, limits), crowd=crowd) for limits in area_ranges
    ]
    for tile in _tiles(truth, predicted, place, most):
        rivalry = Rivalry.of(tile)
        for taking in takings:
            taking.take(rivalry)
    return takings


def _tiles(
    truth: Sequence[Row], predicted: Sequence[Row], place: Ints, most: int
) -> Iterator[Overlaps]:
    """Yield the pairs within images and classes that overlap by half, in the order of turns."""
    key = "segmentation" if truth and "segmentation" in truth[0] else "bbox"
    true = _cells(truth)
    for cell, members in _cells(predicted).items():
        partners = true.get(cell)
        if partners is None:
            continue
        ranked = np.empty(len(members), dtype=np.int64)
        ranked[place[members]] = members
        regions = [truth[k][key] for k in partners]
        crowd = [truth[k]["iscrowd"] for k in partners]
        first, height = np.array(partners), max(1, PAIRS_AT_ONCE // len(partners))
        for start in range(0, min(len(ranked), most), height):
            some = ranked[start : min(start + height, most)]
            table = np.asarray(mask.iou([predicted[k][key] for k in some], regions, crowd))
            rows, columns = np.nonzero(table >= IOU_THRESHOLDS[0])
            yield Overlaps(first[columns], some[rows], table[rows, columns])


def _curve(found: Bools, wrong: Bools, true: int) -> tuple[Floats, Floats]:
    """Return `[iou, recall]` interpolated precision and `[iou]` the highest recall."""
    right, mistakes = np.cumsum(found, axis=1), np.cumsum(wrong, axis=1)
    judged = right + mistakes
    precision = np.divide(right, judged, out=np.zeros(judged.shape), where=judged > 0)
    # The best precision at this recall or beyond; nothing beyond the last.
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((STEPS, 1))], axis=1)
    recall = right / true
    curve = np.stack(
        [envelope[s, np.searchsorted(recall[s], RECALLS, side="left")] for s in range(STEPS)]
    )
    highest: Floats = recall[:, -1] if recall.shape[1] else np.zeros(STEPS)
    return curve, highest
