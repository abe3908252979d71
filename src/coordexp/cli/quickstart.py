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
    """Tune a tiny model on new things and see what it gains.

    In integers and in coord tokens, at the same cost, beside the base as it is: the page is
    report.html. A run that was stopped goes on when the same command is given again.
    """
    from coordexp.quickstart.pipeline import run_quickstart  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop the runs, as for Ctrl-C
    run_quickstart(out)
