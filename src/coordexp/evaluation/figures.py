"""Every figure of one predictions file: what goes into `metrics.json` and the tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordexp.evaluation.coco import CocoFigures, has_masks
from coordexp.evaluation.instances import Instances
from coordexp.evaluation.matching import (
    IOU_THRESHOLDS,
    Match,
    add_matches,
    match_class,
    match_images,
)
from coordexp.evaluation.predictions import PARSE_STATUSES, Prediction
from coordexp.evaluation.scores import (
    IMAGE_ORDERS,
    RankedResult,
    ScoreHealth,
    ranked_figures,
    score_health,
)

UNKNOWN_DESCS_SHOWN = 20
PER_CLASS_COLUMNS = ("class", "true", "predicted", "AP", "AP50", "AP75", "AR100", "F1@0.5")


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class's figures."""

    name: str
    match: Match
    bbox: CocoFigures
    segm: CocoFigures | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures by column, that of masks where there are any."""
        row: dict[str, Any] = {
            "class": self.name,
            "true": self.match.true,
            "predicted": self.match.predicted,
        }
        boxes = self.bbox.to_json()
        row |= {name: boxes[name] for name in ("AP", "AP50", "AP75", "AR100")}
        row["F1@0.5"] = self.match.f1()
        if self.segm is not None:
            row["segm AP"] = self.segm.AP
        return row


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that one predictions file amounts to.

    Args:
        predictions: As read.
        instances: As compared.
        health: Of the scores.
        bbox: COCO's figures for boxes.
        segm: The same for masks, where the truth has polygons.
        images: What was found in each image.
        classes: Each class's figures, by name.
    """

    predictions: tuple[Prediction, ...]
    instances: Instances
    health: ScoreHealth
    bbox: RankedResult
    segm: RankedResult | None
    images: tuple[Match, ...]
    classes: tuple[ClassRow, ...]

    def metrics(self) -> dict[str, Any]:
        """Return the contents of `metrics.json`."""
        return {
            "images": len(self.predictions),
            "objects": {
                "true": len(self.instances.truth),
                "predicted": len(self.instances.predicted),
                "left_out": dict(self.instances.left_out),
            },
            "bbox": self.bbox.figures.overall.to_json(),
            "segm": self.segm.figures.overall.to_json() if self.segm else None,
            "f1": f1_figures(add_matches(self.images)),
            "scores": self._scores(),
            "parse": parse_health(self.predictions),
            "categories": self._categories(),
            "per_class": [row.to_json() for row in self.classes],
        }

    def _scores(self) -> dict[str, Any]:
        boxes, masks = self.bbox.sd, self.segm.sd if self.segm else None
        return {
            "constant": self.health.constant,
            "tied_fraction": self.health.tied_fraction,
            "image_orders": 1 if self.health.ranks else IMAGE_ORDERS,
            "bbox_sd": boxes.to_json() if boxes else None,
            "segm_sd": masks.to_json() if masks else None,
            "warning": self.health.warning(),
        }

    def _categories(self) -> dict[str, Any]:
        unknown = self.instances.unknown
        return {
            "count": len(self.instances.categories.names),
            "matching": self.instances.categories.matching,
            "unknown": self.instances.categories.unknown,
            "unknown_objects": sum(unknown.values()),
            "unknown_descs": len(unknown),
            "most_frequent_unknown": dict(list(unknown.items())[:UNKNOWN_DESCS_SHOWN]),
        }

    def per_image(self) -> list[dict[str, Any]]:
        """Return the lines of `per_image.jsonl`."""
        return [
            {
                "image": row.image,
                "true": match.true,
                "predicted": match.predicted,
                "found@0.5": match.found[0],
                "F1@0.5": match.f1(),
                "F1": mean_f1(match),
                "mean_best_iou": _mean(match.best_iou),
                "mean_best_iou_any_class": _mean(match.best_iou_any_class),
                "parse": row.status,
                "dropped": len(row.dropped),
                "finish_reason": row.finish_reason,
            }
            for row, match in zip(self.predictions, self.images, strict=True)
        ]


def evaluate_instances(
    predictions: Sequence[Prediction], instances: Instances, *, seed: int
) -> Evaluation:
    """Return every figure.

    Args:
        predictions: As read.
        instances: The same, collected.
        seed: Of the image orders over which figures are averaged where scores are tied.
    """
    health = score_health(instances.predicted)
    bbox = ranked_figures(instances, "bbox", health, seed=seed)
    segm = ranked_figures(instances, "segm", health, seed=seed) if has_masks(instances) else None
    return Evaluation(
        predictions=tuple(predictions),
        instances=instances,
        health=health,
        bbox=bbox,
        segm=segm,
        images=match_images(instances),
        classes=_class_rows(instances, bbox, segm),
    )


def f1_figures(match: Match) -> dict[str, Any]:
    """Return the figures that need no ranking; None where there is nothing to measure."""
    return {
        "F1@0.5": match.f1(),
        "F1@0.95": match.f1(-1),
        "F1": mean_f1(match),
        "precision@0.5": match.found[0] / match.predicted if match.predicted else None,
        "recall@0.5": match.found[0] / match.true if match.true else None,
        "mean_best_iou": _mean(match.best_iou),
        "mean_best_iou_any_class": _mean(match.best_iou_any_class),
    }


def mean_f1(match: Match) -> float | None:
    """Return the mean of F1 over COCO's ten IoU thresholds."""
    values = [match.f1(step) for step in range(len(IOU_THRESHOLDS))]
    return _mean([value for value in values if value is not None])


def parse_health(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return how the answers could be read, every status and every reason counted."""
    statuses = Counter(row.status for row in predictions)
    reasons = Counter(item.reason for row in predictions for item in row.dropped)
    finished = Counter(row.finish_reason for row in predictions)
    return {
        "status": {status: statuses[status] for status in PARSE_STATUSES},
        "ok_share": statuses["ok"] / len(predictions) if predictions else None,
        "dropped": dict(reasons.most_common()),
        "dropped_objects": sum(reasons.values()),
        "finish_reason": dict(finished.most_common()),
    }


def _class_rows(
    instances: Instances, bbox: RankedResult, segm: RankedResult | None
) -> tuple[ClassRow, ...]:
    masks: Mapping[int, CocoFigures] = segm.figures.per_class if segm else {}
    return tuple(
        ClassRow(
            name=instances.categories.names[number - 1],
            match=match_class(instances, number),
            bbox=figures,
            segm=masks.get(number),
        )
        for number, figures in sorted(bbox.figures.per_class.items())
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
