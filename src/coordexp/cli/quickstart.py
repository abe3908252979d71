"""`coordexp quickstart`."""

import signal
from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path(
        "runs/quickstart"
    ),
) -> None:
    """Tune a tiny model on things it has never seen, in integers and in coord tokens.

    The page report.html says which points better. Killed? The same command goes on.
    """
    from coordexp.quickstart.pipeline import run_quickstart  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop the runs, as for Ctrl-C
    run_quickstart(out)
