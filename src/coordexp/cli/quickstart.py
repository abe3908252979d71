"""`coordexp quickstart`."""

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path(
        "runs/quickstart"
    ),
) -> None:
    """Run the whole pipeline on a tiny model and handwritten digits."""
    from coordexp.quickstart.pipeline import run_quickstart  # noqa: PLC0415

    run_quickstart(out)
