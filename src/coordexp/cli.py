"""The command line. Heavy imports wait inside the commands, so that `--help` answers at once.

Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 130 interrupted. Bad input never shows a
traceback, nor does a path that cannot be read or written; what still shows one is a bug of ours.
"""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.core import TyperGroup
from typing_extensions import override

from coordexp.errors import CoordExpError

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
    help="Teach a vision-language model to point: detection and grounding as coordinate tokens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
vocab_app = typer.Typer(help="The vocabulary of a base checkpoint.", no_args_is_help=True)
data_app = typer.Typer(help="Records: the data contract.", no_args_is_help=True)
app.add_typer(vocab_app, name="vocab")
app.add_typer(data_app, name="data")

# What a user has set stays. Nothing is fetched at run time that nobody asked for, and the bars and
# the advice of the libraries below do not come between ours.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Where everything is written.")] = Path(
        "runs/quickstart"
    ),
) -> None:
    """Run the whole pipeline on a tiny model and handwritten digits."""
    from coordexp.quickstart.run import run_quickstart  # noqa: PLC0415

    run_quickstart(out)


@vocab_app.command("expand")
def vocab_expand(
    src: Annotated[Path, typer.Argument(help="Base checkpoint.")],
    dst: Annotated[Path, typer.Argument(help="The new checkpoint.")],
    init: Annotated[
        Literal["digits", "mean"],
        typer.Option(help="New rows: from the number's digits, or the mean of all rows."),
    ] = "digits",
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Add the coord tokens to a base checkpoint."""
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.model.vocab_expansion import expand_vocabulary  # noqa: PLC0415

    done = expand_vocabulary(src, dst, alphabet=SPEC_ALPHABET, init=init, overwrite=overwrite)
    typer.echo(
        f"{dst}: coord ids {done.first_id}..{done.last_id}, rows {done.rows_before} -> "
        f"{done.rows_after}, new rows by {done.init}, in {', '.join(done.tensors)}"
    )


@data_app.command("prepare")
def data_prepare(
    src: Annotated[Path, typer.Argument(help="JSONL of records in pixels.")],
    dst: Annotated[Path, typer.Argument(help="JSONL to write, in coord tokens.")],
) -> None:
    """Turn pixel coordinates into coord tokens.

    The exact geometry is kept beside them.
    """
    from coordexp.data.prepare import prepare_file  # noqa: PLC0415

    typer.echo(f"{dst}: {prepare_file(src, dst)}")


@app.command()
def train(
    config: Annotated[Path, typer.Option("--config", help="The run's YAML file.")],
) -> None:
    """Train an adapter, or a whole model.

    On several GPUs: torchrun --nproc_per_node N -m coordexp train --config X.yaml
    """
    from coordexp.config.load import load_config  # noqa: PLC0415

    checked = load_config(config)
    from coordexp.training.run import train as run  # noqa: PLC0415

    done = run(checked)
    if os.environ.get("RANK", "0") == "0":
        typer.echo(f"checkpoint: {done}")


@app.command()
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


@app.command()
def predict(
    model: Annotated[Path, typer.Option(help="Merged model or adapter checkpoint.")],
    data: Annotated[Path, typer.Option(help="JSONL of records.")],
    out: Annotated[Path, typer.Option(help="predictions.jsonl to write.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
) -> None:
    """Answer every record.

    The prompt and all else come from the model's coordexp.json.
    """
    from coordexp.inference.predict import load_predictor, predict_file  # noqa: PLC0415

    count = predict_file(
        load_predictor(model), data, out, batch_size=batch_size, max_new_tokens=max_new_tokens
    )
    typer.echo(f"{out}: {count} predictions")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl of coordexp predict.")],
    out: Annotated[Path, typer.Option(help="Directory of the figures and the report.")],
) -> None:
    """Score predictions.

    Writes metrics.json, per_class.csv, per_image.jsonl and report.html.
    """
    from coordexp.evaluation.run import evaluate_predictions  # noqa: PLC0415

    metrics = evaluate_predictions(predictions, out)
    bbox = metrics["bbox"]
    typer.echo(f"{out}: AP {bbox['AP']:.3f}, AP50 {bbox['AP50']:.3f}, AP75 {bbox['AP75']:.3f}")


def main() -> None:
    """Run the command line and leave with its exit code."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:  # python -W shows them all
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    app()
