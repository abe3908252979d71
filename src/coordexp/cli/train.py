"""`coordexp train`."""

from pathlib import Path
from typing import Annotated

import typer

from coordexp.processes import is_first_rank


def train(
    config: Annotated[Path, typer.Option("--config", help="The run's YAML file.")],
) -> None:
    """Train an adapter, or a whole model.

    A run that was stopped goes on when the same command is given again. On several GPUs:
    torchrun --nproc_per_node N -m coordexp train --config X.yaml
    """
    from coordexp.config.load import load_config  # noqa: PLC0415

    checked = load_config(config)
    if checked.host == "ms_swift":
        from coordexp.integrations.ms_swift.host import train as run  # noqa: PLC0415
    else:
        from coordexp.training.run.stage1 import train as run  # noqa: PLC0415

    done = run(checked, say=lambda words: typer.echo(words, err=True))
    if is_first_rank():
        from coordexp.inspection.survey.train_report import write_train_report  # noqa: PLC0415
        from coordexp.training.run.ending import closing_words  # noqa: PLC0415
        from coordexp.training.watch.progress import LOG_NAME  # noqa: PLC0415

        typer.echo(f"checkpoint: {done}")
        if (checked.training.output_dir / LOG_NAME).is_file():  # a run may log nothing
            page = write_train_report(checked.training.output_dir)
            typer.echo(f"report: {page}", err=True)
        for line in closing_words(checked):
            typer.echo(line, err=True)
