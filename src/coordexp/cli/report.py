"""`coordexp report`."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="The output_dir of a run, done or under way.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; train_report.html in the run by default.")
    ] = None,
) -> None:
    """Draw a training run as a page, from its log.

    Terms of the loss, rates by group, boxes over the steps, speed, memory and examples.
    """
    from coordexp.inspection.survey.train_report import write_train_report  # noqa: PLC0415

    typer.echo(f"report: {write_train_report(run, out)}")
