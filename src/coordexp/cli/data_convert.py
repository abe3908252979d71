"""`coordexp data convert`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Overwrite

if TYPE_CHECKING:
    from coordexp.data.convert.reading.tally import Report


class FormatName(StrEnum):
    """The formats that can be read."""

    coco = "coco"
    lvis = "lvis"
    voc = "voc"
    yolo = "yolo"
    odvg = "odvg"
    labelme = "labelme"


class GeometryName(StrEnum):
    """What objects become."""

    bbox = "bbox"
    poly = "poly"
    prefer_poly = "prefer-poly"


class CrowdName(StrEnum):
    """What becomes of COCO's crowds."""

    keep = "keep"
    drop = "drop"
    drop_picture = "drop-picture"


class IgnoredName(StrEnum):
    """What becomes of ignored and difficult objects."""

    keep = "keep"
    teach = "teach"
    drop = "drop"


def data_convert(  # noqa: PLR0913 - one parameter for each option
    src: Annotated[Path, typer.Argument(help="An annotation file, or the folder of a dataset.")],
    out: Annotated[Path, typer.Argument(help="JSONL of records to write.")],
    *,
    kind: Annotated[
        FormatName | None, typer.Option("--format", help="What SRC is, where looking fails.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which part of the dataset, such as train or val.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, where looking fails.")
    ] = None,
    copy_images: Annotated[
        bool,
        typer.Option(
            "--copy-images",
            help="Put the pictures beside OUT (hard links if possible), labelme's imageData too.",
        ),
    ] = False,
    geometry: Annotated[
        GeometryName,
        typer.Option(help="Boxes; polygons only; or a polygon where one is enough, else a box."),
    ] = GeometryName.bbox,
    include: Annotated[
        list[str] | None, typer.Option(help="Keep only this class; may be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave this class out; may be repeated.")
    ] = None,
    crowd: Annotated[
        CrowdName,
        typer.Option(help="Groups that COCO marks iscrowd: keep them for figures, never taught."),
    ] = CrowdName.keep,
    ignored: Annotated[
        IgnoredName,
        typer.Option(
            help="What VOC marks difficult and others ignore: keep for figures, or teach it."
        ),
    ] = IgnoredName.keep,
    max_vertices: Annotated[
        int | None, typer.Option(min=3, help="Simplify polygons of more (Douglas-Peucker).")
    ] = None,
    min_size: Annotated[
        float, typer.Option(min=0, help="Leave out objects whose shorter side is below, in pixels.")
    ] = 0.0,
    max_objects: Annotated[
        int | None, typer.Option(min=1, help="Leave out pictures with more objects to teach.")
    ] = None,
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Leave out pictures without objects to teach.")
    ] = False,
    zero_based: Annotated[
        bool | None,
        typer.Option(
            "--zero-based/--one-based",
            help="VOC corners count from 0 (edges), or from 1 (pixels); else the files decide.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if anything has to be clipped or dropped.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn COCO, LVIS, VOC, YOLO, ODVG or labelme into records.

    Overhanging shapes are clipped and broken ones dropped. The table at the end says how many, why,
    and where the first one stands. A loss of more than 3 in 100 is said again as a warning; that of
    every object is an error.
    """
    from coordexp.data.convert.conversion import (  # noqa: PLC0415
        Conversion,
        StrictError,
        convert_dataset,
    )
    from coordexp.data.convert.objects.mapping import KeepRules  # noqa: PLC0415

    choice = KeepRules(
        geometry=geometry.value,
        include=frozenset(include or ()),
        exclude=frozenset(exclude or ()),
        crowd=crowd.value,
        ignored=ignored.value,
        most_vertices=max_vertices,
        least_side=min_size,
        most_objects=max_objects,
        empty=not drop_empty,
    )
    conversion = Conversion(
        src=src,
        out=out,
        choice=choice,
        kind=kind.value if kind else None,
        split=split,
        images=images,
        zero_based=zero_based,
        copy_images=copy_images,
        overwrite=overwrite,
        strict=strict,
    )
    try:
        found, report = convert_dataset(conversion)
    except StrictError as error:
        _print_report(f"{src}: not converted", error.report, src=src, err=True)
        raise
    _print_report(f"{out}: converted from {found}", report, src=src, err=False)


def _print_report(title: str, report: "Report", *, src: Path, err: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=escape(title), title_justify="left")
    table.add_column("what")
    table.add_column("pictures", justify="right")
    table.add_column("objects", justify="right")
    table.add_column("the first one", overflow="fold")
    table.add_row("read", f"{report.pictures_read:,}", f"{report.objects_read:,}", "")
    table.add_row("kept", f"{report.pictures_kept:,}", f"{report.objects_kept:,}", "")
    for finding in report.findings:
        asked = " (asked for)" if finding.asked else ""
        count = f"{finding.count:,}"
        columns = (count, "") if finding.subject == "picture" else ("", count)
        what = escape(f"{finding.fate}{asked}: {finding.reason}")
        table.add_row(what, *columns, escape(finding.first.removeprefix(f"{src}/")))
    Console(stderr=err, highlight=False).print(table)
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
