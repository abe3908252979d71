"""`coordexp data prepare`."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Bins, Overwrite, Spelling, parse_alphabet
from coordexp.families.known import DEFAULT_FAMILY

if TYPE_CHECKING:
    from rich.table import Table

    from coordexp.data.prepare.counts import PreparedCounts
    from coordexp.families.picture_grid import PictureGrid

_Number = int | None


def data_prepare(  # noqa: PLR0913, PLR0917 - one for each option
    src: Annotated[Path, typer.Argument(help="JSONL of records in pixels.")],
    dst: Annotated[Path, typer.Argument(help="JSONL to write, in coord tokens.")],
    spelling: Spelling = None,
    bins: Bins = None,
    max_pixels: Annotated[
        _Number, typer.Option(help="Resize pictures to at most this area.")
    ] = None,
    min_pixels: Annotated[_Number, typer.Option(help="Resize them to at least this area.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Resize to the cells of this checkpoint's pictures.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help=f"Or to those of this family of models; {DEFAULT_FAMILY} by default."),
    ] = None,
    max_objects: Annotated[
        _Number, typer.Option(help="Leave out records with more objects.")
    ] = None,
    low_diversity: Annotated[
        _Number, typer.Option(help="Leave out records with this many objects, all of one desc.")
    ] = None,
    tiny: Annotated[
        _Number, typer.Option(help="Keep only so many records, spread over all descs.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the tiny sample.")] = 0,
    drop_bad: Annotated[  # noqa: FBT002 - a switch
        bool, typer.Option("--drop-bad", help="Leave out and count broken records and pictures.")
    ] = False,
    overwrite: Overwrite = False,  # noqa: FBT002
    workers: Annotated[_Number, typer.Option(help="Processes; all cores by default.")] = None,
) -> None:
    """Turn pixels into coord tokens, and resize pictures.

    The exact geometry is kept beside the tokens. Resized pictures are written beside DST. When it
    is stopped, the same command goes on where it was.
    """
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.data.files.written_alphabet import load_alphabet  # noqa: PLC0415
    from coordexp.data.prepare.options import PrepareOptions  # noqa: PLC0415
    from coordexp.data.prepare.prepare import prepare_file  # noqa: PLC0415
    from coordexp.data.prepare.selection import Selection  # noqa: PLC0415

    if workers is not None and workers < 1:
        raise typer.BadParameter("expected at least 1", param_hint="--workers")
    options = PrepareOptions(
        alphabet=parse_alphabet(spelling, bins) or load_alphabet(src) or SPEC_ALPHABET,
        grid=_grid(min_pixels, max_pixels, model, family),
        selection=Selection(
            max_objects=max_objects, low_diversity=low_diversity, tiny=tiny, seed=seed
        ),
        drop_bad=drop_bad,
        overwrite=overwrite,
        workers=workers or len(os.sched_getaffinity(0)),
    )
    with _bytes_progress(src) as advance:
        counts = prepare_file(src, dst, options, progress=advance)
    _report(dst, counts)


@contextmanager
def _bytes_progress(path: Path) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many bytes of a file were done, and show a bar."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    size = path.stat().st_size if path.is_file() else None
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("prepare", total=size)
        yield lambda count: progress.advance(task, count)


def _report(dst: Path, counts: "PreparedCounts") -> None:
    from rich.console import Console  # noqa: PLC0415

    from coordexp.data.prepare.one_shard import BROKEN  # noqa: PLC0415

    Console().print(_table(dst, counts))
    for message in counts.dropped:
        typer.echo(f"left out: {message}", err=True)
    more = counts.left_out[BROKEN] - len(counts.dropped)
    if more:
        typer.echo(f"... and {more:,} more; coordexp data check lists them", err=True)


def _grid(
    least: _Number, most: _Number, model: Path | None, family: str | None
) -> "PictureGrid | None":
    from coordexp.families.known import FAMILIES, load_grid  # noqa: PLC0415

    if model is not None and family is not None:
        raise typer.BadParameter("--model says it already; leave --family out")
    if family is not None and family not in FAMILIES:
        raise typer.BadParameter(
            f"expected one of {', '.join(FAMILIES)}; got {family!r}", param_hint="--family"
        )
    if least is None and most is None:
        if model is not None or family is not None:
            raise typer.BadParameter(
                "--model and --family say how pictures are resized, and none is; "
                "give --max-pixels or --min-pixels too"
            )
        return None
    grid = FAMILIES[family or DEFAULT_FAMILY].grid if model is None else load_grid(model)
    return grid.limited(least=least, most=most)


def _table(dst: Path, counts: "PreparedCounts") -> "Table":
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=str(dst), title_justify="left", show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    rows = {
        "records read": counts.read,
        "records written": counts.records,
        "objects written": counts.objects,
        "crowds and ignored objects among them, never taught": counts.untaught,
        "objects that held coord tokens before": counts.already_tokens,
        "boxes with two sides in one bin": counts.flat,
        "polygons that cross themselves, kept": counts.crossing,
    }
    rows |= {f"left out: {name}": count for name, count in sorted(counts.left_out.items())}
    rows |= {f"pictures {name}": count for name, count in sorted(counts.pictures.items())}
    rows |= {
        f"key not carried along: {name}": count
        for name, count in sorted(counts.unknown_keys.items())
    }
    for position, (name, count) in enumerate(rows.items()):
        if count or position < 3:  # noqa: PLR2004 - the first three always
            table.add_row(name, f"{count:,}")
    return table
