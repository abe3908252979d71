"""Every figure of one predictions file: what goes into `metrics.json` and the tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordexp.evaluation.measure.average_precision import has_masks
from coordexp.evaluation.measure.breakdown import (
    RepeatCounts,
    find_repeats,
    number,
    recall_by_count,
    recall_by_size,
    referring_accuracy,
    repeats_to_json,
)
from coordexp.evaluation.measure.calibration import calibration_to_json
from coordexp.evaluation.measure.instances import Floats, Instances
from coordexp.evaluation.measure.matching import (
    MatchCounts,
    Matches,
    match,
    ratio,
    tally_classes,
    tally_images,
)
from coordexp.evaluation.measure.mistakes import Mistakes, confusions_to_json, find_mistakes
from coordexp.evaluation.measure.point_figures import point_counts, point_figures
from coordexp.evaluation.measure.points import PointMatches, match_points
from coordexp.evaluation.measure.predictions import PARSE_STATUSES, Prediction
from coordexp.evaluation.measure.score_cuts import ScoreCuts, score_cuts
from coordexp.evaluation.measure.scores import (
    IMAGE_ORDERS,
    RankedResult,
    ScoreHealth,
    ranked_figures,
    score_health,
)
from coordexp.evaluation.measure.tables import (
    ImageColumns,
    Row,
    class_rows,
    image_columns,
    image_rows,
)

UNKNOWN_DESCS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that one predictions file amounts to.

    Args:
        predictions: As read.
        matches: What was found, in everything that was compared.
        health: Of the scores.
        bbox: COCO's figures for boxes.
        segm: The same for masks, where the truth has polygons.
        mistakes: Of what kind each wrong prediction is.
        repeats: What was said again.
        images: What was found in each image.
        points: What became of points.
        classes: One row for each class.
        cuts: Precision, recall and F1 over the score.
    """

    predictions: tuple[Prediction, ...]
    matches: Matches
    health: ScoreHealth
    bbox: RankedResult
    segm: RankedResult | None
    mistakes: Mistakes
    repeats: RepeatCounts
    images: ImageColumns
    points: PointMatches
    classes: tuple[Row, ...]
    cuts: ScoreCuts

    @property
    def instances(self) -> Instances:
        """Everything that was compared."""
        return self.matches.instances

    def metrics(self) -> dict[str, Any]:
        """Return the contents of `metrics.json`, but for what only options ask for."""
        truth = self.instances.truth
        return {
            "images": len(self.predictions),
            "objects": {
                "true": int(truth.counted.sum()),
                "crowds": int(truth.crowd.sum()),
                "ignored": int(truth.ignored.sum()),
                "predicted": len(self.instances.predicted),
                "not_judged": int((~self.matches.judged[0]).sum()),
                "clipped": sum(item.clipped for row in self.predictions for item in row.predicted),
                "left_out": dict(self.instances.left_out),
            },
            "bbox": self.bbox.figures.overall.to_json(),
            "segm": self.segm.figures.overall.to_json() if self.segm else None,
            "f1": f1_figures(self.matches, self.images.tally.total()),
            "points": point_figures(self.points),
            "referring": referring_accuracy(self.matches),
            "recall_by_size": recall_by_size(self.matches),
            "recall_by_count": recall_by_count(self.matches),
            "mistakes": self.mistakes.counts(),
            "confusions": confusions_to_json(self.matches, self.mistakes),
            "duplicates": repeats_to_json(self.instances, self.repeats),
            "calibration": calibration_to_json(self.matches),
            "scores": self._scores(),
            "score_cuts": self.cuts.to_json(self.instances.categories.names),
            "parse": parse_health(self.predictions),
            "categories": self._categories(),
            "per_class": list(self.classes),
        }

    def per_image(self) -> list[Row]:
        """Return the lines of `per_image.jsonl`."""
        rows = image_rows(self.predictions, self.matches, self.images)
        if not self.points:
            return rows
        points = point_counts(self.points)
        return [{**row, "points": own} for row, own in zip(rows, points, strict=True)]

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


def evaluate_instances(
    predictions: Sequence[Prediction], instances: Instances, *, seed: int
) -> Evaluation:
    """Return every figure.

    Args:
        predictions: As read.
        instances: The same, collected.
        seed: Of the image orders over which figures are averaged where scores are tied, and of the
            draws and halves of images on which a best score is tried.
    """
    health = score_health(instances.predicted)
    bbox = ranked_figures(instances, "bbox", health, seed=seed)
    segm = ranked_figures(instances, "segm", health, seed=seed) if has_masks(instances) else None
    matches = match(instances)
    mistakes, repeats = find_mistakes(matches), find_repeats(instances)
    names, classes = instances.categories.names, tally_classes(matches)
    return Evaluation(
        predictions=tuple(predictions),
        matches=matches,
        health=health,
        bbox=bbox,
        segm=segm,
        mistakes=mistakes,
        repeats=repeats,
        images=image_columns(matches, tally_images(matches), mistakes, repeats),
        points=match_points(instances),
        classes=tuple(class_rows(names, classes, bbox, segm)),
        cuts=score_cuts(matches, [row.image for row in predictions], seed=seed),
    )


def f1_figures(matches: Matches, total: MatchCounts) -> dict[str, float | None]:
    """Return the figures that need no ranking; None where there is nothing to measure."""
    f1 = total.f1()[:, 0]
    real = matches.instances.truth.counted
    return {
        "F1@0.5": number(f1[0]),
        "F1@0.95": number(f1[-1]),
        "F1@mIoU": number(f1.mean()),
        "precision@0.5": number(ratio(total.found[0], total.predicted[0])[0]),
        "recall@0.5": number(ratio(total.found[0], total.true)[0]),
        "mean_best_iou": _mean(matches.nearest.best_iou[real]),
        "mean_best_iou_any_class": _mean(matches.nearest.best_iou_any_class[real]),
    }


def parse_health(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Return how the answers could be read, every status and every reason counted.

    Other models' predictions may say nothing of it; they are counted as unknown.
    """
    statuses = Counter(row.status for row in predictions if row.status is not None)
    known = statuses.total()
    reasons = Counter(item.reason for row in predictions for item in row.dropped)
    finished = Counter(row.finish_reason for row in predictions if row.finish_reason is not None)
    return {
        "status": {status: statuses[status] for status in PARSE_STATUSES},
        "unknown": len(predictions) - known,
        "ok_share": statuses["ok"] / known if known else None,
        "dropped": dict(reasons.most_common()),
        "dropped_objects": sum(reasons.values()),
        "finish_reason": dict(finished.most_common()),
    }


def _mean(values: Floats) -> float | None:
    return float(np.mean(values)) if len(values) else None
