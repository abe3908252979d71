"""From a predictions file to a folder of figures."""

import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

from coordexp.data.jsonl import write_jsonl
from coordexp.errors import InputError
from coordexp.evaluation.categories import CategoryMatching, UnknownDescs
from coordexp.evaluation.figures import PER_CLASS_COLUMNS, Evaluation, evaluate_instances
from coordexp.evaluation.instances import collect_instances
from coordexp.evaluation.page import evaluation_page
from coordexp.evaluation.predictions import read_predictions
from coordexp.viewing.report import write_atomically

logger = logging.getLogger(__name__)


def evaluate_predictions(
    predictions: Path,
    out: Path,
    *,
    matching: CategoryMatching = "normalized",
    unknown: UnknownDescs = "bucket",
    seed: int = 0,
) -> dict[str, Any]:
    """Write the figures of a predictions file into a folder and return the metrics.

    The files are `metrics.json`, `per_class.csv`, `per_image.jsonl` and `report.html`. Everything
    is computed before the first file is written, and `metrics.json` comes last: where it exists,
    the others are complete. Other files in the folder stay.

    Args:
        predictions: The predictions file; its pictures are found through each line's `root`.
        out: The folder to write to, made where it is missing.
        matching: How descs become classes.
        unknown: What becomes of predicted descs that are no class.
        seed: Of the image orders over which figures are averaged where scores are tied.

    Raises:
        InputError: If the file cannot be read or `out` is no folder.
        RecordError: If a line breaks the contract.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder")
    rows = read_predictions(predictions)
    instances = collect_instances(rows, matching=matching, unknown=unknown)
    evaluation = evaluate_instances(rows, instances, seed=seed)
    metrics = evaluation.metrics()
    page = evaluation_page(evaluation, predictions, metrics)
    if (warning := evaluation.health.warning()) is not None:
        logger.warning("%s: %s", predictions, warning)
    (out / "metrics.json").unlink(missing_ok=True)
    write_atomically(out / "per_class.csv", per_class_csv(evaluation))
    write_jsonl(out / "per_image.jsonl", evaluation.per_image())
    page.write(out / "report.html")
    text = json.dumps(metrics, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    write_atomically(out / "metrics.json", text)
    return metrics


def per_class_csv(evaluation: Evaluation) -> str:
    """Return a table of the classes; an empty cell is a figure that cannot be measured."""
    columns = [*PER_CLASS_COLUMNS, *(["segm AP"] if evaluation.segm else [])]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_json() for row in evaluation.classes)
    return buffer.getvalue()
