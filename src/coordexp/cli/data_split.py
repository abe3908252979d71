"""`coordexp data split`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Overwrite

if TYPE_CHECKING:
    from coordexp.data.split.split import SplitReport

_PARTS = ("train=0.9", "val=0.1")
_ALIKE = 0.97
_SHOWN = 5


def data_split(
    src: Annotated[Path, typer.Argument(help="JSONL of records, in pixels or coord tokens.")],
    part: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHARE",
            show_default=" ".join(_PARTS),
            help="A part and its share of the records; give all of them.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Keep records together that have the same metadata.KEY, as a film."
        ),
    ] = None,
    alike: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=1,
            help="Correlation from which two pictures look alike, and stay together.",
        ),
    ] = _ALIKE,
    images: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--images/--no-images", help="Whether to look for pictures that look alike."),
    ] = True,
    seed: Annotated[int, typer.Option(help="Decides where nothing else does.")] = 0,
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Split records into files that share no picture.

    They are written beside SRC: of all.jsonl come all.train.jsonl and all.val.jsonl. Pictures that
    look alike stay together. Every class is in every part by its share, as far as that allows.
    """
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.data.files.written_alphabet import load_alphabet  # noqa: PLC0415
    from coordexp.data.split.parts import parse_parts  # noqa: PLC0415
    from coordexp.data.split.split import SplitOptions, split_file  # noqa: PLC0415

    options = SplitOptions(
        parts=parse_parts(part or _PARTS),
        seed=seed,
        group=group,
        alike=alike if images else None,
        overwrite=overwrite,
    )
    with _counted() as advance:
        report = split_file(src, load_alphabet(src) or SPEC_ALPHABET, options, progress=advance)
    _show(report, looked=images)


@contextmanager
def _counted() -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn())
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task("pictures", total=None)
        yield lambda count: progress.advance(task, count)


def _show(report: "SplitReport", *, looked: bool) -> None:
    for part in report.parts:
        share = part.lines / report.lines
        typer.echo(
            f"{part.path}: {part.lines:,} records ({share:.1%}), {len(part.classes):,} classes"
        )
    told = f"{report.lines:,} records in {report.groups:,} groups that stay together"
    if looked:
        told += f"; {len(report.alike):,} pairs of pictures look alike"
    typer.echo(told)
    for one, other in report.alike[:_SHOWN]:
        typer.echo(f"  {one} and {other}")
    if len(report.alike) > _SHOWN:
        typer.echo(f"  and {len(report.alike) - _SHOWN:,} more pairs")
    missing = report.missing()
    for name, parts in list(missing.items())[:_SHOWN]:
        typer.echo(f"warning: {name!r} is not in {', '.join(parts)}", err=True)
    if len(missing) > _SHOWN:
        typer.echo(
            f"warning: {len(missing) - _SHOWN:,} more classes are not in all parts", err=True
        )
