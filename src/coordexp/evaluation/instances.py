"""Truth and predictions of a whole file in one form, for every metric alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coordexp.data.geometry import Box, bounding_box
from coordexp.data.record import Geometry
from coordexp.evaluation.categories import (
    Categories,
    CategoryMatching,
    UnknownDescs,
    build_categories,
)
from coordexp.evaluation.predictions import Prediction, ScoredObject

LEFT_OUT_TRUTH = "true objects without area"
LEFT_OUT_LINES = "predicted lines without area"
LEFT_OUT_UNKNOWN = "predicted objects of unknown desc"


@dataclass(frozen=True, slots=True)
class Instance:
    """One object as the metrics see it.

    Args:
        image: Index of its image, from 0.
        category: Its id, from 1.
        geometry: In pixels.
        score: 1 for a true object.
    """

    image: int
    category: int
    geometry: Geometry
    score: float

    @property
    def box(self) -> Box:
        """The bounding box, whatever the geometry is."""
        return bounding_box(self.geometry.values)

    @property
    def area(self) -> float:
        """Of the bounding box, in square pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)


@dataclass(frozen=True, slots=True)
class Instances:
    """Everything that the metrics compare.

    Args:
        sizes: Width and height of each image.
        categories: The classes.
        truth: What is there.
        predicted: What the model says.
        unknown: How often each predicted desc came that is no class.
        left_out: How many objects take no part in the figures, and why.
    """

    sizes: tuple[tuple[int, int], ...]
    categories: Categories
    truth: tuple[Instance, ...]
    predicted: tuple[Instance, ...]
    unknown: Mapping[str, int]
    left_out: Mapping[str, int]


def collect_instances(
    predictions: Sequence[Prediction], *, matching: CategoryMatching, unknown: UnknownDescs
) -> Instances:
    """Return the instances of a predictions file.

    A true object without area is left out, since no overlap with it can be measured: a box that
    collapsed when it was quantised, or the bounding box of an upright line. Predicted lines without
    area go with them, while a predicted box without area stays, as the false positive that it is.
    """
    categories = build_categories(
        (item.desc for row in predictions for item in row.truth), matching=matching, unknown=unknown
    )
    truth: list[Instance] = []
    predicted: list[Instance] = []
    unknown_descs: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for image, row in enumerate(predictions):
        for item in row.truth:
            instance = _instance(image, item, categories)
            _keep(instance, truth, left_out, LEFT_OUT_TRUTH if instance.area == 0 else None)
        for item in row.predicted:
            if categories.id_of(item.desc) is None:
                unknown_descs[item.desc] += 1
            instance = _instance(image, item, categories)
            _keep(instance, predicted, left_out, _why_left_out(instance, categories))
    return Instances(
        sizes=tuple((row.width, row.height) for row in predictions),
        categories=categories,
        truth=tuple(truth),
        predicted=tuple(predicted),
        unknown=dict(unknown_descs.most_common()),
        left_out=dict(left_out),
    )


def _instance(image: int, item: ScoredObject, categories: Categories) -> Instance:
    category = categories.id_of(item.desc) or categories.bucket_id
    return Instance(image=image, category=category, geometry=item.geometry, score=item.score)


def _why_left_out(predicted: Instance, categories: Categories) -> str | None:
    if predicted.geometry.kind == "line" and predicted.area == 0:
        return LEFT_OUT_LINES
    if predicted.category == categories.bucket_id and categories.unknown == "drop":
        return LEFT_OUT_UNKNOWN
    return None


def _keep(
    instance: Instance, kept: list[Instance], left_out: Counter[str], reason: str | None
) -> None:
    if reason is None:
        kept.append(instance)
    else:
        left_out[reason] += 1
