"""How well polygons cover what they outline: the mask IoU of matched polygons.

    outlines = 2 x sum of mask IoU / (true + predicted polygons)

Pairs are one to one within a class, those first whose bounding boxes are nearest (`pairs`). Masks
are drawn on a raster of the bins, by the same code that the evaluator's `segm` figures come from
(COCO, Lin et al., ECCV 2014). It says nothing about an answer without polygons where none are true,
and the others carry its weight then.

Cheats: a polygon with four corners on its bounding box is worth the share of the box that the
object fills, for round things above 0.7: watch the number of corners. Tiny polygons, a giant one, a
safe one and duplicates gain as little as by F1.
"""

import numpy as np
from faster_coco_eval.core import mask as coco_mask

from coordexp.evaluation.measure.instances import Bools, Floats, Objects
from coordexp.rewards.attempts import Attempts
from coordexp.rewards.pairs import nearest_pairs


def outlines(attempts: Attempts) -> Floats:
    """Return the term; NaN where neither truth nor answer holds a polygon."""
    instances = attempts.matches.instances
    truth, predicted = instances.truth, instances.predicted
    true, said = truth.counted & _are_polygons(truth), attempts.judged & _are_polygons(predicted)
    if not true.any() and not said.any():
        return np.full(len(attempts), np.nan)
    pairs = nearest_pairs(attempts.matches, true, said)
    sides = zip(pairs.true.tolist(), pairs.said.tolist(), strict=True)
    ious = [
        mask_iou(truth.geometries[one].values, predicted.geometries[other].values, side)
        for one, other in sides
        for side in [instances.sizes[truth.image[one]][0]]
    ]
    worth = np.bincount(truth.image[pairs.true], weights=ious, minlength=len(attempts))
    return attempts.share(worth, true, said)


def mask_iou(one: tuple[float, ...], other: tuple[float, ...], side: int) -> float:
    """Return the IoU of two polygons, drawn on a square raster.

    Args:
        one: x, y, x, y, ...
        other: The same.
        side: Of the raster.
    """
    a, b = (coco_mask.frPyObjects([list(ring)], side, side) for ring in (one, other))
    return float(coco_mask.iou(a, b, [0])[0, 0])


def _are_polygons(objects: Objects) -> Bools:
    return np.array([item.kind == "poly" for item in objects.geometries], dtype=np.bool_)
