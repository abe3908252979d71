"""`coordexp lab run` and `coordexp lab report`."""

import signal
from pathlib import Path
from typing import Annotated

import typer


def lab_run(
    study: Annotated[Path, typer.Argument(help="The study's YAML file.")],
    processes: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each run.")] = 1,
) -> None:
    """Run what of a study has not ended well.

    Every run is an ordinary training with its answers and figures, in a folder of its own. A study
    that was stopped goes on when the same command is given again. Exit code 1: a run failed.
    """
    from coordexp.lab.cells import run_study  # noqa: PLC0415
    from coordexp.lab.study import load_plan  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop the runs, as for Ctrl-C
    if not run_study(load_plan(study), processes=processes, threads=threads, say=typer.echo):
        raise typer.Exit(1)


def lab_report(
    study: Annotated[Path, typer.Argument(help="The study's YAML file.")],
) -> None:
    """Write what a study has found so far.

    The page report.html and verdicts.json, in the folder of the study.
    """
    from coordexp.lab.report import write_report  # noqa: PLC0415
    from coordexp.lab.study import load_plan  # noqa: PLC0415

    typer.echo(write_report(load_plan(study)))
