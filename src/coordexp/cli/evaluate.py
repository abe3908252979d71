"""`coordexp evaluate`."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Matching(StrEnum):
    """When two descs are one class."""

    EXACT = "exact"
    NORMALIZED = "normalized"


class Unknown(StrEnum):
    """What becomes of predicted descs that are no class."""

    BUCKET = "bucket"
    DROP = "drop"


class Method(StrEnum):
    """The kind of a calibration."""

    ISOTONIC = "isotonic"
    LOGISTIC = "logistic"


def evaluate(
    out: Annotated[Path, typer.Option(help="Directory of the figures and the report.")],
    predictions: Annotated[
        Path | None,
        typer.Argument(help="predictions.jsonl of coordexp predict, or of any other model."),
    ] = None,
    matching: Annotated[
        Matching, typer.Option(help="Descs are one class if equal, or but for case and spaces.")
    ] = Matching.NORMALIZED,
    unknown: Annotated[
        Unknown,
        typer.Option(help="Predicted descs that are no class: false positives, or left out."),
    ] = Unknown.BUCKET,
    *,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Add 95 % intervals, by drawing images anew.")
    ] = False,
    compare: Annotated[
        Path | None, typer.Option(help="Another model's predictions of the same records.")
    ] = None,
    fit_calibration: Annotated[
        Method | None, typer.Option(help="Fit calibration.json on half of the images.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Apply a calibration.json to the scores first.")
    ] = None,
    coco_gt: Annotated[
        Path | None, typer.Option(help="COCO annotation file; takes the place of PREDICTIONS.")
    ] = None,
    coco_dt: Annotated[
        Path | None, typer.Option(help="COCO results of any model for --coco-gt; boxes.")
    ] = None,
) -> None:
    """Score predictions: lines with their truth, or COCO's two files.

    Writes metrics.json, per_class.csv, per_image.jsonl and report.html.
    """
    from coordexp.evaluation.evaluate import EvaluateOptions, evaluate_predictions  # noqa: PLC0415

    if calibration is not None and fit_calibration is not None:
        raise typer.BadParameter("--calibration applies one, --fit-calibration fits one; not both")
    options = EvaluateOptions(
        matching=matching.value,
        unknown=unknown.value,
        intervals=intervals,
        compare=compare,
        calibration=calibration,
        fit_calibration=None if fit_calibration is None else fit_calibration.value,
        coco_gt=coco_gt,
    )
    metrics = evaluate_predictions(_source(predictions, coco_gt, coco_dt), out, options)
    _report(metrics, out, compare)


def _report(metrics: Mapping[str, Any], out: Path, compare: Path | None) -> None:
    bbox = metrics["bbox"]
    shown = ("AP", "AP50", "AP75")
    found = [f"{name} {'-' if bbox[name] is None else f'{bbox[name]:.3f}'}" for name in shown]
    typer.echo(f"{out}: {', '.join(found)}")
    if (best := metrics["score_cuts"]["best_f1"]) is not None:
        typer.echo(_told_best(best))
    for line in _points_told(metrics["points"]):
        typer.echo(line)
    typer.echo(f"report: {out / 'report.html'}")
    if compare is not None:
        row = metrics["compare"]["AP"]
        if row["interval"] is not None:
            low, high = row["interval"]
            typer.echo(f"AP {row['difference']:+.3f} ({low:+.3f} to {high:+.3f}) beside {compare}")


def _told_best(best: Mapping[str, Any]) -> str:
    """Return the best F1 in words, and what it is worth elsewhere."""
    spread = "" if best["interval"] is None else " ({:.3f} to {:.3f})".format(*best["interval"])
    unseen = best["F1_unseen"]
    elsewhere = "" if unseen is None else f"; {unseen:.3f} with each half cut at the other's score"
    said = f"best F1 {best['F1']:.3f} at score {best['score']:.3f}{spread}"
    return f"{said}, chosen on these images{elsewhere}"


def _points_told(points: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what is said of points, nothing where there are none."""
    for name in ("distance", "inside"):
        if points is not None and points[name] is not None:
            found = [(key, value) for key, value in points[name].items() if key.startswith("F1")]
            told = ", ".join(f"{k} {'-' if v is None else f'{v:.3f}'}" for k, v in found)
            yield f"points by {'distance' if name == 'distance' else 'what they hit'}: {told}"


def _source(predictions: Path | None, coco_gt: Path | None, coco_dt: Path | None) -> Path:
    """Return the file with the predictions."""
    if predictions is not None and coco_gt is None and coco_dt is None:
        return predictions
    if predictions is None and coco_gt is not None and coco_dt is not None:
        return coco_dt
    raise typer.BadParameter("give PREDICTIONS, or --coco-gt and --coco-dt together")
