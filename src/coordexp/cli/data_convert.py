"""`coordexp data convert`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Overwrite
from coordexp.data.convert.formats import format_names

if TYPE_CHECKING:
    from coordexp.data.convert.conversion import Conversion
    from coordexp.data.convert.reading.tally import Report


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


class PointName(StrEnum):
    """What becomes of single points."""

    drop = "drop"
    keep = "keep"
    only = "only"


class IgnoredName(StrEnum):
    """What becomes of ignored and difficult objects."""

    keep = "keep"
    teach = "teach"
    drop = "drop"


Src = Annotated[Path, typer.Argument(help="An annotation file, or the folder of a dataset.")]
Out = Annotated[Path, typer.Argument(help="JSONL of records to write.")]
Kind = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar=f"[{'|'.join(format_names())}]",
        help="What SRC is, where looking fails.",
    ),
]
Split = Annotated[str | None, typer.Option(help="Which part of the dataset, such as train or val.")]
Images = Annotated[Path | None, typer.Option(help="Folder of the pictures, where looking fails.")]
CopyImages = Annotated[
    bool,
    typer.Option(
        "--copy-images",
        help="Put the pictures beside OUT (hard links if possible), labelme's imageData too.",
    ),
]
GeometryOption = Annotated[
    GeometryName,
    typer.Option(help="Boxes; polygons only; or a polygon where one is enough, else a box."),
]
Points = Annotated[
    PointName,
    typer.Option(
        help="labelme's points and COCO's keypoints ('person left eye'): left out, kept beside the "
        "others as point_2d, or all that is kept."
    ),
]
Include = Annotated[list[str] | None, typer.Option(help="Keep only this class; may be repeated.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Leave this class out; may be repeated.")]
Crowd = Annotated[
    CrowdName,
    typer.Option(help="Groups that COCO marks iscrowd: keep them for figures, never taught."),
]
Ignored = Annotated[
    IgnoredName,
    typer.Option(help="What VOC marks difficult and others ignore: keep for figures, or teach it."),
]
MaxVertices = Annotated[
    int | None, typer.Option(min=3, help="Simplify polygons of more (Douglas-Peucker).")
]
MinSize = Annotated[
    float, typer.Option(min=0, help="Leave out objects whose shorter side is below, in pixels.")
]
MaxObjects = Annotated[
    int | None, typer.Option(min=1, help="Leave out pictures with more objects to teach.")
]
DropEmpty = Annotated[
    bool, typer.Option("--drop-empty", help="Leave out pictures without objects to teach.")
]
ZeroBased = Annotated[
    bool | None,
    typer.Option(
        "--zero-based/--one-based",
        help="VOC corners count from 0 (edges), or from 1 (pixels); else the files decide.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail if anything has to be clipped or dropped.")
]


def data_convert(  # noqa: PLR0913 - one parameter for each option
    src: Src,
    out: Out,
    *,
    kind: Kind = None,
    split: Split = None,
    images: Images = None,
    copy_images: CopyImages = False,
    geometry: GeometryOption = GeometryName.bbox,
    points: Points = PointName.drop,
    include: Include = None,
    exclude: Exclude = None,
    crowd: Crowd = CrowdName.keep,
    ignored: Ignored = IgnoredName.keep,
    max_vertices: MaxVertices = None,
    min_size: MinSize = 0.0,
    max_objects: MaxObjects = None,
    drop_empty: DropEmpty = False,
    zero_based: ZeroBased = None,
    strict: Strict = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn COCO, VOC, YOLO or another dataset into records.

    Overhanging shapes are clipped and broken ones dropped. The table at the end says how many, why,
    and where the first one stands. A loss of more than 3 in 100 is said again as a warning; that of
    every object is an error.
    """
    from coordexp.data.convert.conversion import Conversion  # noqa: PLC0415
    from coordexp.data.convert.objects.mapping import KeepRules  # noqa: PLC0415

    choice = KeepRules(
        geometry=geometry.value,
        points=points.value,
        include=frozenset(include or ()),
        exclude=frozenset(exclude or ()),
        crowd=crowd.value,
        ignored=ignored.value,
        most_vertices=max_vertices,
        least_side=min_size,
        most_objects=max_objects,
        empty=not drop_empty,
    )
    _convert(
        Conversion(
            src=src,
            out=out,
            choice=choice,
            kind=kind,
            split=split,
            images=images,
            zero_based=zero_based,
            copy_images=copy_images,
            overwrite=overwrite,
            strict=strict,
        )
    )


def _convert(conversion: "Conversion") -> None:
    from coordexp.data.convert.conversion import StrictError, convert_dataset  # noqa: PLC0415

    src = conversion.src
    try:
        found, report = convert_dataset(conversion)
    except StrictError as error:
        _print_report(f"{src}: not converted", error.report, src=src, err=True)
        raise
    _print_report(f"{conversion.out}: converted from {found}", report, src=src, err=False)


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
