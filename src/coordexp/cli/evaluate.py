"""`coordexp evaluate`."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl of coordexp predict.")],
    out: Annotated[Path, typer.Option(help="Directory of the figures and the report.")],
) -> None:
    """Score predictions.

    Writes metrics.json, per_class.csv, per_image.jsonl and report.html.
    """
    from coordexp.evaluation.run import evaluate_predictions  # noqa: PLC0415

    metrics = evaluate_predictions(predictions, out)
    bbox = metrics["bbox"]
    typer.echo(f"{out}: AP {bbox['AP']:.3f}, AP50 {bbox['AP50']:.3f}, AP75 {bbox['AP75']:.3f}")
