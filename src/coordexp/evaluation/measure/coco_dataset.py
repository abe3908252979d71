"""Truth or predictions as the dataset that COCO's own code reads.

Every id counts from 1, since COCO's matching reads 0 as unmatched. What may be ignored has an area
beyond every range of sizes, and the classes that an image was searched for are named as LVIS does.
"""

from typing import Any, Literal

import numpy as np
from faster_coco_eval.core import mask

from coordexp.data.contract.record import Geometry
from coordexp.evaluation.measure.instances import Instances, Ints, Objects

CocoKind = Literal["bbox", "segm"]
# COCO ignores what lies outside a range of sizes, and reads no other flag but a crowd's: an object
# larger than every range is passed over in all of them, and still compared as an ordinary one.
_BEYOND_EVERY_RANGE = 1e12


def coco_dataset(
    instances: Instances, items: Objects, kind: CocoKind, image_ids: Ints
) -> dict[str, Any]:
    """Return objects as a COCO dataset.

    Every id counts from 1, since COCO's matching reads 0 as unmatched.

    Args:
        instances: What the objects are of.
        items: Truth or predictions.
        kind: Boxes or masks.
        image_ids: Of each image.
    """
    frequency = instances.frequency or {}
    searched, partly = _searches(instances)
    return {
        "images": [
            {
                "id": number,
                "width": size[0],
                "height": size[1],
                "neg_category_ids": searched[image],
                "not_exhaustive_category_ids": partly[image],
            }
            for image, (number, size) in enumerate(
                zip(image_ids.tolist(), instances.sizes, strict=True)
            )
        ],
        "categories": [
            {"id": number, "name": str(number), "frequency": frequency.get(number, "f")}
            for number in range(1, instances.categories.bucket_id + 1)
        ],
        "annotations": _annotations(instances, items, kind, image_ids),
    }


def _annotations(
    instances: Instances, items: Objects, kind: CocoKind, image_ids: Ints
) -> list[dict[str, Any]]:
    # In the order of the images, since equal scores keep the order in which they come.
    order = np.argsort(image_ids[items.image], kind="stable")
    boxes = items.boxes[order]
    columns = zip(
        range(1, len(order) + 1),
        image_ids[items.image[order]].tolist(),
        items.category[order].tolist(),
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist(),
        items.area[order].tolist(),
        items.score[order].tolist(),
        items.crowd[order].astype(np.int64).tolist(),
        strict=True,
    )
    annotations: list[dict[str, Any]] = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": area,
            "score": score,
            "iscrowd": crowd,
        }
        for number, image, category, box, area, score, crowd in columns
    ]
    if kind == "segm":
        for row, k in zip(annotations, order.tolist(), strict=True):
            row["segmentation"] = _region(items.geometries[k], instances.sizes[items.image[k]])
            if np.isnan(items.known_area[k]):
                row["area"] = float(mask.area(row["segmentation"]))
    for place in np.flatnonzero(items.ignored[order]).tolist():
        annotations[place]["area"] = _BEYOND_EVERY_RANGE
    return annotations


def _searches(instances: Instances) -> tuple[list[list[int]], list[list[int]]]:
    """Return, by image, the predicted classes that are judged there, and those not fully marked.

    Of other classes LVIS's figures need to know nothing: there is no prediction to judge.
    """
    predicted = instances.predicted
    found: list[list[list[int]]] = [[[] for _ in instances.sizes] for _ in range(2)]
    if instances.frequency is not None:
        for lists, chosen in zip(found, (predicted.searched, ~predicted.exhaustive), strict=True):
            pairs = zip(
                predicted.image[chosen].tolist(), predicted.category[chosen].tolist(), strict=True
            )
            for image, category in dict.fromkeys(pairs):
                lists[image].append(category)
    return found[0], found[1]


def _region(geometry: Geometry, size: tuple[int, int]) -> Any:  # noqa: ANN401 - COCO's own
    width, height = size
    outline = [float(value) for value in geometry.values]
    if geometry.rules.form == "corners":
        x1, y1, x2, y2 = outline
        outline = [x1, y1, x2, y1, x2, y2, x1, y2]
    return mask.merge(mask.frPyObjects([outline], height, width))
