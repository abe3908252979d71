"""From a predictions file to a folder of figures."""

import csv
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import InputError
from coordexp.evaluation.measure.bootstrap import comparison_to_json, intervals_to_json, resample
from coordexp.evaluation.measure.calibration import (
    Calibration,
    CalibrationMethod,
    UnfitError,
    are_probabilities,
    fit_calibration,
    judged_calibration,
    load_calibration,
)
from coordexp.evaluation.measure.categories import CategoryMatching, UnknownDescs
from coordexp.evaluation.measure.coco_files import read_coco_files
from coordexp.evaluation.measure.figures import Evaluation, evaluate_instances
from coordexp.evaluation.measure.instances import Instances, collect_instances
from coordexp.evaluation.measure.matching import match
from coordexp.evaluation.measure.merging import join_lines
from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.evaluation.measure.reasons import reasons
from coordexp.evaluation.measure.scores import score_health
from coordexp.evaluation.measure.tables import PER_CLASS_COLUMNS, Row
from coordexp.evaluation.page.page import evaluation_page
from coordexp.files import write_text
from coordexp.identity import file_digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What to compute, and how.

    Args:
        matching: How descs become classes.
        unknown: What becomes of predicted descs that are no class.
        seed: Of image orders where scores are tied, of draws, and of the calibration's split.
        intervals: Whether to draw images anew, for intervals.
        compare: Another predictions file of the same images.
        calibration: A calibration file to apply to the scores first.
        fit_calibration: Fit one of this kind, from the raw scores.
        coco_gt: COCO's annotation file, where predictions are a list of COCO results; None where
            they are lines with their truth.
    """

    matching: CategoryMatching = "normalized"
    unknown: UnknownDescs = "bucket"
    seed: int = 0
    intervals: bool = False
    compare: Path | None = None
    calibration: Path | None = None
    fit_calibration: CalibrationMethod | None = None
    coco_gt: Path | None = None


DEFAULTS = EvaluateOptions()


@dataclass(frozen=True, slots=True)
class Computed:
    """All figures of a predictions file.

    Args:
        evaluation: With what they were computed from.
        metrics: The contents of `metrics.json`.
        fitted: A calibration, where one was asked for and could be fitted.
    """

    evaluation: Evaluation
    metrics: dict[str, Any]
    fitted: Calibration | None


def evaluate_predictions(
    predictions: Path | str, out: Path | str, options: EvaluateOptions = DEFAULTS
) -> dict[str, Any]:
    """Write the figures of a predictions file into a folder and return the metrics.

    The files are `metrics.json`, `per_class.csv`, `per_image.jsonl` and, where a calibration is
    fitted, `calibration.json`; then `report.html`, for whose pictures it takes longer. Everything
    is computed before the first file is written, and the report comes last: where it exists, the
    others are complete. Other files in the folder stay.

    Args:
        predictions: The predictions file; its pictures are found through each line's `root`. With
            `options.coco_gt`, a list of COCO results.
        out: The folder to write to, made where it is missing.
        options: What to compute, and how.

    Raises:
        InputError: If a file cannot be read, `out` cannot be written, or what is to be compared
            does not belong together.
        RecordError: If a line breaks the contract.
    """
    predictions, out = Path(predictions), Path(out)
    check_folder(out)
    computed = compute_figures(predictions, options)
    for warning in _warnings(computed.evaluation):
        logger.warning("%s: %s", predictions, warning)
    for note in computed.metrics["notes"]:
        logger.warning("%s: %s", predictions, note)
    (out / "report.html").unlink(missing_ok=True)
    if options.fit_calibration is not None:  # what an earlier call has fitted is not this one's
        (out / "calibration.json").unlink(missing_ok=True)
    write_figures(out, computed)
    page = evaluation_page(computed.evaluation, predictions, computed.metrics)
    page.write(out / "report.html")
    return computed.metrics


def compute_figures(predictions: Path, options: EvaluateOptions = DEFAULTS) -> Computed:
    """Return the figures of a predictions file.

    Args:
        predictions: The predictions file.
        options: What to compute, and how.
    """
    applied = load_calibration(options.calibration) if options.calibration else None
    rows, notes = _read(predictions, options)
    if applied is not None or options.fit_calibration is not None:
        _check_raw_scores(rows, predictions)
    others = _other_rows(rows, options)
    instances = _collected(rows, options)
    fitted = None
    digest = file_digest(predictions)
    images = [row.image for row in rows]
    if options.fit_calibration is not None:
        try:
            fitted = applied = fit_calibration(
                match(instances),
                images,
                options.fit_calibration,
                seed=options.seed,
                source=predictions,
            )
        except UnfitError as error:  # the figures do not depend on it
            notes.append(str(error))
    if applied is not None:
        instances = _calibrated(instances, applied, predictions)
    evaluation = evaluate_instances(rows, instances, seed=options.seed)
    metrics: dict[str, Any] = {"predictions": {"file": predictions.name, "sha256": digest}}
    metrics |= evaluation.metrics()
    if applied is not None:
        metrics["calibration"] = judged_calibration(applied, evaluation.matches, images, digest)
    metrics |= _resampled(evaluation, others, options)
    metrics["notes"] = [*reasons(evaluation), *notes]
    return Computed(evaluation, metrics, fitted)


def write_figures(out: Path, computed: Computed) -> None:
    """Write everything but the report."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "per_class.csv", _csv(computed.evaluation.classes))
    write_jsonl(out / "per_image.jsonl", computed.evaluation.per_image())
    if computed.fitted is not None:
        write_text(out / "calibration.json", _json(computed.fitted.to_json()))
    write_text(out / "metrics.json", _json(computed.metrics))


def check_folder(out: Path) -> None:
    """Check that a folder can be written, or made; nothing is written yet.

    Raises:
        InputError: If it is a file, or lies where nothing may be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder")
    standing = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not standing.is_dir():
        raise InputError(f"{out}: cannot be made, because {standing} is a file")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot be written; --out names a folder you may write to")


def _read(path: Path, options: EvaluateOptions) -> tuple[tuple[Prediction, ...], list[str]]:
    """Return predictions, one line for each question to a picture, and what is to be told of it."""
    if options.coco_gt is not None:
        return read_coco_files(options.coco_gt, path), []
    joined = join_lines(read_predictions(path), path)
    note = joined.note()
    return joined.rows, [] if note is None else [note]


def _collected(rows: Sequence[Prediction], options: EvaluateOptions) -> Instances:
    return collect_instances(rows, matching=options.matching, unknown=options.unknown)


def _calibrated(instances: Instances, calibration: Calibration, source: Path) -> Instances:
    scores = instances.predicted.score
    if not are_probabilities(scores):
        raise InputError(f"{source}: cannot be calibrated: there are scores outside 0 to 1")
    return instances.with_scores(calibration.apply(scores))


def _check_raw_scores(rows: Sequence[Prediction], path: Path) -> None:
    """Check that no score was calibrated when it was predicted.

    Raises:
        InputError: If one was.
    """
    for line, row in enumerate(rows, start=1):
        if any("raw" in item.score_parts for item in row.predicted):
            raise InputError(
                f"{path}:{line}: scores are calibrated already, by coordexp predict --calibration; "
                "evaluate them as they are"
            )


def _warnings(evaluation: Evaluation) -> list[str]:
    warnings = [evaluation.health.warning()]
    if not len(evaluation.instances.truth) and not len(evaluation.instances.true_points):
        warnings.append("there is not one true object, so nothing can be measured but the answers")
    overruled = sum(
        item.marks.ignore and item.marks.iscrowd is False
        for row in evaluation.predictions
        for item in row.truth
    )
    if overruled:
        warnings.append(
            f"{overruled:,} true objects with ignore 1 beside iscrowd 0 are counted, as COCO's own "
            "tools do; leave iscrowd out where they are to be passed over"
        )
    return [warning for warning in warnings if warning is not None]


def _other_rows(
    rows: Sequence[Prediction], options: EvaluateOptions
) -> tuple[Prediction, ...] | None:
    if options.compare is None:
        return None
    others, _ = _read(options.compare, options)
    _check_paired(rows, others, options.compare)
    return others


def _resampled(
    evaluation: Evaluation, others: Sequence[Prediction] | None, options: EvaluateOptions
) -> dict[str, Any]:
    if not options.intervals and others is None:
        return {}
    own = resample(evaluation.matches, evaluation.health, seed=options.seed)
    metrics: dict[str, Any] = {"intervals": intervals_to_json(own)} if options.intervals else {}
    if others is not None:
        instances = _collected(others, options)
        health = score_health(instances.predicted)
        other = resample(match(instances), health, seed=options.seed)
        metrics["compare"] = {"with": str(options.compare), **comparison_to_json(own, other)}
    return metrics


def _check_paired(this: Sequence[Prediction], other: Sequence[Prediction], path: Path) -> None:
    """Check that two files are about the same images and the same truth.

    Raises:
        InputError: If they are not; it names the first line that differs.
    """
    if len(other) != len(this):
        raise InputError(
            f"{path}: has {len(other)} lines, the file to compare with has {len(this)}; "
            "compare answers to the same records"
        )
    for line, (a, b) in enumerate(zip(this, other, strict=True), start=1):
        if (a.image, a.truth) != (b.image, b.truth):
            what = "another image" if a.image != b.image else "another truth"
            raise InputError(
                f"{path}:{line}: {what} than in the file to compare with ({a.image}); "
                "compare answers to the same records, in the same order"
            )


def _csv(rows: Sequence[Row]) -> str:
    """Return a table of the classes; an empty cell is a figure that cannot be measured."""
    masks = ["segm AP"] if any("segm AP" in row for row in rows) else []
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*PER_CLASS_COLUMNS, *masks], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
