"""COCO's average precision and recall, through faster-coco-eval.

Boxes are the bounding boxes of every geometry. Masks (`segm`) compare true and predicted polygons
where the truth has polygons, and nothing else. Sizes (small below 32 x 32, large above 96 x 96
pixels) are those of what the dataset gives as `area`, or of the geometry compared. COCO looks at
100 predictions per image and class; where an image holds more true objects of a class than that,
the limit of the AP figures is raised to their number, while AR100 stays what its name says.

Where images were not searched for every class, the figures are LVIS's: faster-coco-eval's
`lvis_style`, with 300 predictions per image and class and AP of rare, common and frequent classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from coordexp.data.contract.federated import Frequency
from coordexp.evaluation.measure.coco_dataset import CocoKind, coco_dataset
from coordexp.evaluation.measure.coco_tiles import is_too_large, tiled_figures
from coordexp.evaluation.measure.collector import collector_paused
from coordexp.evaluation.measure.instances import Floats, Instances, Objects

BY_FREQUENCY: Mapping[Frequency, str] = {"r": "APr", "c": "APc", "f": "APf"}
_FREQUENT = frozenset(BY_FREQUENCY.values())
MAX_DETS = (1, 10, 100)
AREA_NAMES = ("all", "small", "medium", "large")
SMALL_PX2, LARGE_PX2 = 32**2, 96**2
_ALL_PX2 = 1e10
_AREA_RANGES = ((0, _ALL_PX2), (0, SMALL_PX2), (SMALL_PX2, LARGE_PX2), (LARGE_PX2, _ALL_PX2))
FEDERATED_DETS = 300


@dataclass(frozen=True, slots=True)
class CocoFigures:
    """COCO's figures, and AP at IoU 0.90 alone.

    None where there is no true object (of that size, or in a class that frequent) to measure. What
    depends on the frequency of classes is only there where that is known.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP90: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    APr: float | None = None
    APc: float | None = None
    APf: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return the figures by name."""
        figures = asdict(self)
        if all(figures[name] is None for name in BY_FREQUENCY.values()):
            return {name: value for name, value in figures.items() if name not in _FREQUENT}
        return figures


@dataclass(frozen=True, slots=True)
class CocoResult:
    """The figures over all classes, and each class's own, by category id.

    Args:
        overall: Means over the classes.
        per_class: By category id.
        precision: `[2, 101]`: over recall 0 to 1, at IoU 0.50 and 0.75, mean over the classes.
    """

    overall: CocoFigures
    per_class: dict[int, CocoFigures]
    precision: Floats


def has_masks(instances: Instances) -> bool:
    """Return whether a true object that counts is a polygon."""
    truth = instances.truth
    pairs = zip(truth.geometries, truth.counted.tolist(), strict=True)
    return any(counted and geometry.rules.form == "ring" for geometry, counted in pairs)


def most_detections(instances: Instances) -> int:
    """Return how many predictions of a class in an image count for AP."""
    truth = instances.truth
    usual = MAX_DETS[-1] if instances.frequency is None else FEDERATED_DETS
    cell = truth.image * (instances.categories.bucket_id + 1) + truth.category
    _, counts = np.unique(cell[truth.counted], return_counts=True)
    return int(max(usual, counts.max(initial=0)))


@collector_paused()
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
    order = range(len(instances.sizes)) if image_order is None else image_order
    image_ids = np.empty(len(instances.sizes), dtype=np.int64)
    image_ids[list(order)] = np.arange(1, len(image_ids) + 1)
    truth, predicted = _compared(instances.truth, kind), _compared(instances.predicted, kind)
    datasets = [coco_dataset(instances, items, kind, image_ids) for items in (truth, predicted)]
    if not datasets[0]["annotations"]:
        nothing = _figures(np.full((10, 101, 1, 4, 3), -1.0), np.full((10, 1, 4, 3), -1.0))
        return CocoResult(nothing, {}, np.zeros((2, 101)))
    most = most_detections(instances)
    max_dets = [*MAX_DETS, most] if most > MAX_DETS[-1] else list(MAX_DETS)
    # No true object has the bucket's category: its column would be empty, and takes time.
    categories = list(range(1, instances.categories.bucket_id))
    true, said = (dataset["annotations"] for dataset in datasets)
    if is_too_large(true, said, most):
        as_said = np.argsort(image_ids[predicted.image], kind="stable")
        searched = predicted.searched[as_said]
        precision, recall = tiled_figures(
            true,
            [row for row, counts in zip(said, searched.tolist(), strict=True) if counts],
            categories=categories,
            area_ranges=_AREA_RANGES,
            max_dets=max_dets,
            unjudged=~predicted.exhaustive[as_said][searched],
        )
    else:
        precision, recall = _official(datasets, instances, kind, categories, max_dets)
    overall = _figures(precision, recall)
    return CocoResult(
        overall=replace(overall, **_by_frequency(instances, precision)),
        per_class={
            number: _figures(precision[:, :, [column]], recall[:, [column]])
            for column, number in enumerate(categories)
        },
        precision=_curves(precision[[0, 5], :, :, AREA_NAMES.index("all"), -1]),
    )


def _official(
    datasets: Sequence[dict[str, Any]],
    instances: Instances,
    kind: CocoKind,
    categories: Sequence[int],
    max_dets: Sequence[int],
) -> tuple[Floats, Floats]:
    """Return precision and recall as faster-coco-eval accumulates them."""
    run = COCOeval_faster(
        *(COCO(dataset) for dataset in datasets),
        iouType=kind,
        lvis_style=instances.frequency is not None,
    )
    run.params.catIds = list(categories)
    run.params.maxDets = list(max_dets)
    run.evaluate()
    run.accumulate()
    return run.eval["precision"], run.eval["recall"]


def _compared(items: Objects, kind: CocoKind) -> Objects:
    """Return what has a region; of crowds and ignored objects without an outline it is the box."""
    if kind == "bbox":
        return items
    polygons = np.array([g.rules.form == "ring" for g in items.geometries], dtype=np.bool_)
    boxes = np.array([g.rules.form == "corners" for g in items.geometries], dtype=np.bool_)
    return items.chosen(polygons | (boxes & ~items.counted))


def _curves(precision: Floats) -> Floats:
    """Return the mean over classes, `[iou, recall, class]`, of those that have true objects."""
    mean: Floats = np.ma.masked_less(precision, 0).mean(axis=2).filled(0.0)
    return mean


def _by_frequency(instances: Instances, precision: Floats) -> dict[str, float | None]:
    """Return AP of rare, common and frequent classes; nothing where their frequency is unknown."""
    known = instances.frequency or {}
    last = precision[:, :, :, AREA_NAMES.index("all"), -1]
    return {
        name: _mean(last[:, :, [number - 1 for number, own in known.items() if own == frequency]])
        for frequency, name in BY_FREQUENCY.items()
        if known
    }


def _figures(precision: Floats, recall: Floats) -> CocoFigures:
    """Return the figures of what COCO accumulates.

    `precision` is `[iou, recall, class, size, max_dets]`, `recall` lacks its second axis.
    IoU counts from 0.50 in steps of 0.05, so that 0.75 is the sixth, 0.90 the ninth.
    """
    everything = AREA_NAMES.index("all")
    small, medium, large = (AREA_NAMES.index(name) for name in ("small", "medium", "large"))
    return CocoFigures(
        AP=_mean(precision[:, :, :, everything, -1]),
        AP50=_mean(precision[0, :, :, everything, -1]),
        AP75=_mean(precision[5, :, :, everything, -1]),
        AP90=_mean(precision[8, :, :, everything, -1]),
        APs=_mean(precision[:, :, :, small, -1]),
        APm=_mean(precision[:, :, :, medium, -1]),
        APl=_mean(precision[:, :, :, large, -1]),
        AR1=_mean(recall[:, :, everything, 0]),
        AR10=_mean(recall[:, :, everything, 1]),
        AR100=_mean(recall[:, :, everything, 2]),
    )


def _mean(values: Floats) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
