"""`coordexp data check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Bins, Spelling, parse_alphabet

if TYPE_CHECKING:
    from coordexp.data.audit.findings import AuditReport

_PLACES_SHOWN = 3
_STYLES = {"violation": "bold red", "warning": "yellow"}


def data_check(
    files: Annotated[
        list[Path],
        typer.Argument(help="JSONL of records; several are taken as splits of one dataset."),
    ],
    images: Annotated[  # noqa: FBT002
        bool, typer.Option("--images/--no-images", help="Whether to open the pictures as well.")
    ] = True,
    decode: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--decode/--no-decode",
            help="Whether to decode them too; size and end alone are seen many times faster.",
        ),
    ] = True,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Look too for what the run of this YAML file refuses."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The same for a base, checkpoint or merged model.")
    ] = None,
    spelling: Spelling = None,
    bins: Bins = None,
    as_json: Annotated[  # noqa: FBT002
        bool, typer.Option("--json", help="Print the report as JSON, with every place.")
    ] = False,
) -> None:
    """List everything that is wrong with records, and what looks wrong.

    What this passes, training and prediction can read. Violations end with exit code 1, warnings
    alone with 0. Without --alphabet records are read in the alphabet that data prepare noted beside
    the first file, or that the configuration or model names.
    """
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.data.audit.audit import audit_files  # noqa: PLC0415
    from coordexp.data.files.written_alphabet import load_alphabet  # noqa: PLC0415

    given = parse_alphabet(spelling, bins)
    alphabet = given or load_alphabet(files[0]) or SPEC_ALPHABET
    if config is None and model is None:
        report = audit_files(files, images=images, decode=decode, alphabet=alphabet)
    else:  # a tokenizer takes seconds to load
        from coordexp.inspection.survey.encoding import source_of  # noqa: PLC0415
        from coordexp.inspection.survey.run_audit import audit_run  # noqa: PLC0415

        source = source_of(config=config, model=model, alphabet=alphabet)
        if given is not None:
            source.check_alphabet(given)
        report = audit_files(files, images=images, decode=decode, alphabet=source.style.alphabet)
        audit_run(files, source, report)
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        _print_places(report)
        _print_table(report)
    if report.total("violation"):
        raise typer.Exit(1)


def _print_places(report: "AuditReport") -> None:
    """Print the first few places of each rule, each on a line of its own, for grep and editors."""
    for finding in report.findings:
        typer.secho(f"{finding.rule.name} ({finding.rule.severity})", bold=True)
        for place in finding.places[:_PLACES_SHOWN]:
            typer.echo(f"  {place}")
        if finding.count > _PLACES_SHOWN:
            typer.echo(f"  ... and {finding.count - _PLACES_SHOWN:,} more")
        typer.echo()


def _print_table(report: "AuditReport") -> None:
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if report.findings:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("count", justify="right", no_wrap=True)
        table.add_column("rule", no_wrap=True)
        table.add_column("what to do")
        for finding in report.findings:
            rule = finding.rule
            table.add_row(f"{finding.count:,}", Text(rule.name, _STYLES[rule.severity]), rule.fix)
        Console(highlight=False).print(table)
    for counts in report.files:
        seen = f", {counts.images_checked:,} pictures" if counts.images_checked else ""
        typer.echo(f"{counts.path}: {counts.records:,} records, {counts.objects:,} objects{seen}")
    violations, warnings = report.total("violation"), report.total("warning")
    typer.echo(f"{violations:,} violation(s), {warnings:,} warning(s)")
