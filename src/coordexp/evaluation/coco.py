"""COCO's average precision and recall, through faster-coco-eval.

Boxes are the bounding boxes of every geometry. Masks (`segm`) compare true and predicted polygons
where the truth has polygons, and nothing else. Sizes (small below 32 x 32, large above 96 x 96
pixels) are those of the geometry compared. There are no crowd regions. COCO looks at 100
predictions per image and class; where an image holds more true objects than that, the limit of the
AP figures is raised to their number, while AR100 stays what its name says.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask

from coordexp.evaluation.instances import Instance, Instances

CocoKind = Literal["bbox", "segm"]
MAX_DETS = (1, 10, 100)
AREA_NAMES = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class CocoFigures:
    """COCO's figures; None where there is no true object (of that size) to measure."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CocoResult:
    """The figures over all classes, and each class's own, by category id."""

    overall: CocoFigures
    per_class: dict[int, CocoFigures]


def has_masks(instances: Instances) -> bool:
    """Return whether the truth holds a polygon."""
    return any(item.geometry.kind == "poly" for item in instances.truth)


def coco_figures(
    instances: Instances, kind: CocoKind, *, image_order: Sequence[int] | None = None
) -> CocoResult:
    """Return average precision and recall.

    Args:
        instances: Truth and predictions.
        kind: Boxes or masks.
        image_order: A permutation of the images. It matters only where scores are tied; None is the
            file's order.
    """
    truth, predicted = _compared(instances.truth, kind), _compared(instances.predicted, kind)
    order = range(len(instances.sizes)) if image_order is None else image_order
    image_ids = {image: number for number, image in enumerate(order, start=1)}
    datasets = [_dataset(instances, items, kind, image_ids) for items in (truth, predicted)]
    if not datasets[0]["annotations"]:
        nothing = _figures(np.full((10, 101, 1, 4, 3), -1.0), np.full((10, 1, 4, 3), -1.0))
        return CocoResult(nothing, {})
    run = COCOeval_faster(*(COCO(dataset) for dataset in datasets), iouType=kind)
    most = max(Counter(item.image for item in truth).values())
    run.params.maxDets = [*MAX_DETS, most] if most > MAX_DETS[-1] else list(MAX_DETS)
    run.evaluate()
    run.accumulate()
    precision, recall = run.eval["precision"], run.eval["recall"]
    return CocoResult(
        overall=_figures(precision, recall),
        per_class={
            number: _figures(precision[:, :, [column]], recall[:, [column]])
            for column, number in enumerate(run.params.catIds)
            if number != instances.categories.bucket_id
        },
    )


def _compared(items: Sequence[Instance], kind: CocoKind) -> list[Instance]:
    return [item for item in items if kind == "bbox" or item.geometry.kind == "poly"]


def _dataset(
    instances: Instances, items: Sequence[Instance], kind: CocoKind, image_ids: dict[int, int]
) -> dict[str, Any]:
    """Return a COCO dataset; every id counts from 1, since COCO's matching reads 0 as unmatched."""
    categories = range(1, instances.categories.bucket_id + 1)
    annotations: list[dict[str, Any]] = []
    # In the order of the images, since equal scores keep the order in which they come.
    for item in sorted(items, key=lambda item: image_ids[item.image]):
        row = _annotation(item, instances.sizes[item.image], kind)
        row |= {"id": len(annotations) + 1, "image_id": image_ids[item.image], "iscrowd": 0}
        annotations.append(row)
    return {
        "images": [
            {"id": image_ids[image], "width": width, "height": height}
            for image, (width, height) in enumerate(instances.sizes)
        ],
        "categories": [{"id": number, "name": str(number)} for number in categories],
        "annotations": annotations,
    }


def _annotation(item: Instance, size: tuple[int, int], kind: CocoKind) -> dict[str, Any]:
    x1, y1, x2, y2 = item.box
    row: dict[str, Any] = {
        "category_id": item.category,
        "score": float(item.score),
        "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
        "area": float(item.area),
    }
    if kind == "segm":
        width, height = size
        outline = [float(value) for value in item.geometry.values]
        row["segmentation"] = mask.merge(mask.frPyObjects([outline], height, width))
        row["area"] = float(mask.area(row["segmentation"]))
    return row


def _figures(precision: npt.NDArray[np.float64], recall: npt.NDArray[np.float64]) -> CocoFigures:
    """Return the figures of what COCO accumulates.

    `precision` is `[iou, recall, class, size, max_dets]`, `recall` lacks its second axis.
    IoU counts from 0.50 in steps of 0.05, so that 0.75 is the sixth.
    """
    everything = AREA_NAMES.index("all")
    small, medium, large = (AREA_NAMES.index(name) for name in ("small", "medium", "large"))
    return CocoFigures(
        AP=_mean(precision[:, :, :, everything, -1]),
        AP50=_mean(precision[0, :, :, everything, -1]),
        AP75=_mean(precision[5, :, :, everything, -1]),
        APs=_mean(precision[:, :, :, small, -1]),
        APm=_mean(precision[:, :, :, medium, -1]),
        APl=_mean(precision[:, :, :, large, -1]),
        AR1=_mean(recall[:, :, everything, 0]),
        AR10=_mean(recall[:, :, everything, 1]),
        AR100=_mean(recall[:, :, everything, 2]),
    )


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
