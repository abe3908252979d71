"""`coordexp data prepare`."""

from pathlib import Path
from typing import Annotated

import typer


def data_prepare(
    src: Annotated[Path, typer.Argument(help="JSONL of records in pixels.")],
    dst: Annotated[Path, typer.Argument(help="JSONL to write, in coord tokens.")],
) -> None:
    """Turn pixel coordinates into coord tokens.

    The exact geometry is kept beside them.
    """
    from coordexp.data.prepare import prepare_file  # noqa: PLC0415

    typer.echo(f"{dst}: {prepare_file(src, dst)}")
