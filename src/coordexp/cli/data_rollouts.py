"""`coordexp data rollouts`."""

from pathlib import Path
from typing import Annotated

import typer

from coordexp.cli.options import Overwrite


def data_rollouts(
    predictions: Annotated[
        Path, typer.Argument(help="predictions.jsonl of coordexp predict, over training records.")
    ],
    out: Annotated[Path, typer.Argument(help="JSONL to write, in the pictures' folder or above.")],
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Turn a model's own answers into records to train on.

    Objects that were found come in the order of the answer, with the truth's geometry; those that
    were missed come behind them, and what is wrong is left out. Train on them with
    custom.object_ordering: record.
    """
    from coordexp.rollouts import write_rollouts  # noqa: PLC0415

    counts = write_rollouts(predictions, out, overwrite=overwrite)
    typer.echo(
        f"{out}: {counts.records:,} records, {counts.moved:,} of them not in the sorted order; "
        f"{counts.found:,} objects found, {counts.missed:,} missed and put behind, "
        f"{counts.wrong:,} predicted ones left out"
    )
    if counts.flat:
        typer.echo(
            f"left out: {counts.flat:,} true boxes without area in pixels; predict over records "
            "that keep exact pixels (data prepare does)",
            err=True,
        )
