"""`coordexp merge`."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Overwrite

if TYPE_CHECKING:
    from coordexp.export.certificate import Certificate, QuantisedTraining


def merge(
    checkpoint: Annotated[Path, typer.Argument(help="Adapter checkpoint of a run.")],
    dst: Annotated[Path, typer.Argument(help="The merged model.")],
    overwrite: Overwrite = False,  # noqa: FBT002
    records: Annotated[
        Path | None,
        typer.Option(help="JSONL to certify on; otherwise the records of the run."),
    ] = None,
    no_certify: Annotated[  # noqa: FBT002
        bool, typer.Option("--no-certify", help="Write without checking; the model card says so.")
    ] = False,
) -> None:
    """Bake an adapter into a plain model, and certify it.

    DST appears when it is complete: a merge that is interrupted, or whose certificate fails, leaves
    nothing.
    """
    from coordexp.export.merge import merge_checkpoint  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up, as for Ctrl-C
    if no_certify and records is not None:
        raise typer.BadParameter("--records is what to certify on; --no-certify leaves that out")
    report = merge_checkpoint(
        checkpoint, dst, overwrite=overwrite, certify=not no_certify, records=records
    )
    typer.echo(f"{dst}: {report.dtype}, {'tied' if report.tied else 'untied'}")
    if report.certificate is None:
        typer.echo("NOT CERTIFIED (--no-certify): nothing says that this model is what was trained")
    else:
        for line in _certified(report.certificate):
            typer.echo(line)


def _quantised(training: "QuantisedTraining") -> str:
    words = f"  trained on its base in {training.method}: there the adapter's logits"
    if training.distance is None:
        return f"{words} differ, by how much cannot be measured without bitsandbytes"
    return f"{words} are {training.distance.every.rms:.1e} (rms) from these"


def _certified(certificate: "Certificate") -> list[str]:
    asked, weights, generation = certificate.checked_on, certificate.weights, certificate.generation
    if asked.kind == "records":
        places = ", ".join(str(line) for line in asked.lines)
        lines = [f"certified on records of {asked.source}, lines {places}"]
    else:
        lines = [
            f"certified on {asked.kind} alone, without pictures: the run's records cannot be read "
            f"({asked.source}); name others with --records"
        ]
    lines.append(
        f"  logits within {certificate.logits.distance.every.largest:.1e} standard deviations of "
        f"{certificate.logits.reference}, at {asked.positions} positions"
    )
    if certificate.rounding is not None:
        moved = f"  rounding moved them by {certificate.rounding.distance.every.rms:.1e} (rms)"
        without = certificate.rounding.without_offsets
        if without is not None:
            moved += f"; without coord offsets by {without.every.rms:.1e}"
        lines.append(moved)
    if certificate.quantization is not None:
        lines.append(_quantised(certificate.quantization))
    lines += [
        f"  {generation.equal} of {generation.tokens} greedy tokens equal the adapter's",
        f"  {weights.equal} of {weights.tensors} tensors are the base's bit for bit, "
        f"{weights.merged_layers} layers merged; of the vocabulary only coord rows differ",
        f"  loads as {certificate.reloaded_as} where coordexp cannot be imported",
    ]
    return lines
