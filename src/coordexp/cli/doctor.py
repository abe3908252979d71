"""`coordexp doctor`."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.sheets import print_sheets

if TYPE_CHECKING:
    from rich.console import Console

    from coordexp.inspection.doctor.tokens import Looks
    from coordexp.inspection.doctor.verdict import Diagnosis


def doctor(
    config: Annotated[Path, typer.Option("--config", help="The run's YAML file.")],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML page to write: the same, with the first records drawn."),
    ] = None,
) -> None:
    """Look for everything wrong with a run before it starts.

    The run's own code builds tokenizer, records, batches and model, and takes one optimizer step
    that is undone. Nothing is written into the run's output directory. Exit code 1 says that
    something is red, 0 that nothing is.
    """
    # One process looks at one GPU, however many the run will have.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    from coordexp.config.load import load_config  # noqa: PLC0415

    checked = load_config(config)
    from rich.console import Console  # noqa: PLC0415

    from coordexp.inspection.doctor.doctor import examine  # noqa: PLC0415

    console, errors = Console(highlight=False), Console(stderr=True)
    with errors.status("looking") as status:
        diagnosis = examine(checked, say=lambda name: status.update(f"looking at: {name}"))
    _print(console, diagnosis)
    if out is not None:
        from coordexp.inspection.doctor.page import doctor_page  # noqa: PLC0415

        doctor_page(diagnosis, name=config.name).write(out)
        console.print(f"page: {out}", soft_wrap=True)
    if diagnosis.exit_code:
        raise typer.Exit(diagnosis.exit_code)


def _print(console: "Console", diagnosis: "Diagnosis") -> None:
    from coordexp.inspection.doctor.tokens import Looks  # noqa: PLC0415
    from coordexp.inspection.doctor.verdict import UnbuiltError  # noqa: PLC0415

    with suppress(UnbuiltError):  # the table says why
        _print_tokens(console, diagnosis.pieces.take(Looks))
    for finding in diagnosis.findings.values():
        print_sheets(console, finding.sheets)
    _print_verdicts(console, diagnosis)


def _print_tokens(console: "Console", looks: "Looks") -> None:
    from rich.text import Text  # noqa: PLC0415

    from coordexp.inspection.doctor.tokens import KINDS  # noqa: PLC0415

    legend = Text("colours: ")
    for kind, style in KINDS.items():
        legend.append(kind, style.terminal).append(" ")
    shown = Text()
    for token in looks.transcript:
        times = f" x {token.times}" if token.times > 1 else ""
        ending = "\n" if token.text.endswith("\n") else "\N{MIDDLE DOT}"
        shown.append(token.visible + times, KINDS[token.kind].terminal).append(ending, "dim")
    console.print(Text(f"{looks.place}, token by token", "bold"), legend, shown, "", sep="\n")


def _print_verdicts(console: "Console", diagnosis: "Diagnosis") -> None:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "check"):
        table.add_column(column, no_wrap=True)
    table.add_column("what was found, and what to do", overflow="fold")
    for name, finding in diagnosis.findings.items():
        told = Text(finding.found)
        if finding.advice:
            told.append(f"\n-> {finding.advice}", "bold")
        table.add_row(Text(finding.verdict, finding.verdict), Text(name), told)
    console.print(table)
    counts = [diagnosis.count("green"), diagnosis.count("yellow"), diagnosis.count("red")]
    console.print("{} green, {} yellow, {} red".format(*counts))
