"""`coordexp merge`."""

from pathlib import Path
from typing import Annotated

import typer

from coordexp.cli.options import Overwrite


def merge(
    checkpoint: Annotated[Path, typer.Argument(help="Adapter checkpoint of a run.")],
    dst: Annotated[Path, typer.Argument(help="The merged model.")],
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Bake an adapter into a plain model, and verify its logits."""
    from coordexp.export.merge import merge_checkpoint  # noqa: PLC0415

    report = merge_checkpoint(checkpoint, dst, overwrite=overwrite)
    typer.echo(
        f"{dst}: {report.dtype}, {'tied' if report.tied else 'untied'}; merged logits within "
        f"{report.logit_difference:.1e} standard deviations of the adapter's"
    )
