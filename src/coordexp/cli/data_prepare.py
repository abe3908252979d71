"""`coordexp data prepare`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Overwrite

if TYPE_CHECKING:
    from rich.table import Table

    from coordexp.data.prepare import PreparedCounts
    from coordexp.data.smart_resize import PixelLimits

_Number = int | None


def data_prepare(  # noqa: PLR0913, PLR0917 - one for each option
    src: Annotated[Path, typer.Argument(help="JSONL of records in pixels.")],
    dst: Annotated[Path, typer.Argument(help="JSONL to write, in coord tokens.")],
    max_pixels: Annotated[
        _Number, typer.Option(help="Resize pictures to at most this area (Qwen's smart resize).")
    ] = None,
    min_pixels: Annotated[_Number, typer.Option(help="Resize them to at least this area.")] = None,
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
    from rich.console import Console  # noqa: PLC0415

    from coordexp.cli.progress import bytes_progress  # noqa: PLC0415
    from coordexp.data.prepare import prepare_file  # noqa: PLC0415
    from coordexp.data.prepare_shard import BROKEN  # noqa: PLC0415
    from coordexp.data.selection import Selection  # noqa: PLC0415

    if workers is not None and workers < 1:
        raise typer.BadParameter("expected at least 1", param_hint="--workers")
    selection = Selection(
        max_objects=max_objects, low_diversity=low_diversity, tiny=tiny, seed=seed
    )
    with bytes_progress("prepare", src) as advance:
        counts = prepare_file(
            src,
            dst,
            limits=_limits(min_pixels, max_pixels),
            selection=selection,
            drop_bad=drop_bad,
            overwrite=overwrite,
            workers=workers or len(os.sched_getaffinity(0)),
            progress=advance,
        )
    console = Console()
    console.print(_table(dst, counts))
    for message in counts.dropped:
        typer.echo(f"left out: {message}", err=True)
    more = counts.left_out[BROKEN] - len(counts.dropped)
    if more:
        typer.echo(f"... and {more:,} more; coordexp data check lists them", err=True)


def _limits(least: _Number, most: _Number) -> "PixelLimits | None":
    from coordexp.data.smart_resize import LEAST_PIXELS, MOST_PIXELS, PixelLimits  # noqa: PLC0415

    if least is None and most is None:
        return None
    most = max(MOST_PIXELS, least or 0) if most is None else most
    return PixelLimits(least=min(LEAST_PIXELS, most) if least is None else least, most=most)


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
