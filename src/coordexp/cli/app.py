"""The command line, assembled, with its errors turned into messages and exit codes.

Heavy imports wait inside the commands, so that `--help` answers at once.

Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 130 interrupted. Bad input never shows a
traceback, nor does a path that cannot be read or written; what still shows one is a bug of ours.
"""

import logging
import os
import sys
import warnings
from importlib import metadata
from typing import Annotated

import typer
from typer.core import TyperGroup
from typing_extensions import override

from coordexp.cli.data_check import data_check
from coordexp.cli.data_convert import data_convert
from coordexp.cli.data_export import data_export
from coordexp.cli.data_prepare import data_prepare
from coordexp.cli.data_rollouts import data_rollouts
from coordexp.cli.data_split import data_split
from coordexp.cli.data_stats import data_stats
from coordexp.cli.data_view import data_view
from coordexp.cli.demo import demo
from coordexp.cli.doctor import doctor
from coordexp.cli.evaluate import evaluate
from coordexp.cli.lab import lab_report, lab_run
from coordexp.cli.merge import merge
from coordexp.cli.plan import plan
from coordexp.cli.predict import predict
from coordexp.cli.quickstart import quickstart
from coordexp.cli.report import report
from coordexp.cli.serve import serve
from coordexp.cli.swift import swift_plugin
from coordexp.cli.train import train
from coordexp.cli.vocab import vocab_expand, vocab_fit, vocab_graft
from coordexp.errors import CoordExpError
from coordexp.model.offline import forbid_network

INTERRUPTED = 130


class Commands(TyperGroup):
    """Turns errors that a user can act on into one message and an exit code."""

    @override
    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override] # a private base
        try:
            return super().invoke(ctx)
        except CoordExpError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except BrokenPipeError:
            raise  # typer leaves in silence: whoever read our output has gone
        except OSError as error:
            if error.errno is None:
                raise
            place = "" if error.filename is None else f"{error.filename}: "
            typer.echo(f"error: {place}{error.strerror}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="coordexp",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"coordexp {metadata.version('coordexp')}")
        raise typer.Exit


@app.callback()
def coordexp(
    version: Annotated[  # noqa: FBT002 - its callback speaks
        bool,
        typer.Option(
            "--version",
            help="Print the version and leave.",
            is_eager=True,
            callback=lambda asked: _show_version(asked=asked),
        ),
    ] = False,
) -> None:
    """Teach a vision-language model to point: detection and grounding as coordinate tokens."""


vocab_app = typer.Typer(help="The vocabulary of a base checkpoint.", no_args_is_help=True)
lab_app = typer.Typer(help="Studies: recipes, seeds and tasks compared.", no_args_is_help=True)
swift_app = typer.Typer(help="CoordExp inside ms-swift.", no_args_is_help=True)
data_app = typer.Typer(help="Records: the data contract.", no_args_is_help=True)

# In the order of `--help`.
app.command()(quickstart)
app.add_typer(data_app, name="data")
data_app.command("convert")(data_convert)
data_app.command("split")(data_split)
data_app.command("prepare")(data_prepare)
data_app.command("check")(data_check)
data_app.command("stats")(data_stats)
data_app.command("view")(data_view)
data_app.command("rollouts")(data_rollouts)
data_app.command("export")(data_export)
app.add_typer(vocab_app, name="vocab")
vocab_app.command("expand")(vocab_expand)
vocab_app.command("fit")(vocab_fit)
vocab_app.command("graft")(vocab_graft)
app.command()(plan)
app.command()(train)
app.command()(report)
app.command()(doctor)
app.command()(merge)
app.command()(predict)
app.command()(evaluate)
app.command()(serve)
app.command()(demo)
app.add_typer(lab_app, name="lab")
lab_app.command("run")(lab_run)
lab_app.command("report")(lab_report)
app.add_typer(swift_app, name="swift")
swift_app.command("plugin")(swift_plugin)

# What a user has set stays. Bars and advice of the libraries below do not come between ours.
ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main() -> None:
    """Run the command line and leave with its exit code."""
    forbid_network()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:  # python -W shows them all
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app()
