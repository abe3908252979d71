"""`coordexp data export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coordexp.cli.options import Overwrite


class ToolName(StrEnum):
    """Whose format."""

    coco = "coco"
    yolo = "yolo"
    labelstudio = "labelstudio"
    fiftyone = "fiftyone"


def data_export(
    tool: Annotated[ToolName, typer.Argument(help="Whose format.")],
    src: Annotated[Path, typer.Argument(help="JSONL of records, or predictions of a model.")],
    out: Annotated[Path, typer.Argument(help="JSON file to write; of YOLO a folder.")],
    picture_url: Annotated[
        str, typer.Option(help="Of Label Studio: goes before the path of each picture.")
    ] = "/data/local-files/?d=",
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Write records or predictions for another tool.

    Of predictions the objects are those that the model said, with their scores: a labelling tool
    shows them to be corrected.
    """
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.data.export.export import export_file  # noqa: PLC0415
    from coordexp.data.files.written_alphabet import load_alphabet  # noqa: PLC0415

    alphabet = load_alphabet(src) or SPEC_ALPHABET
    report = export_file(src, out, tool.value, alphabet, url=picture_url, overwrite=overwrite)
    what = "predicted objects" if report.predicted else "objects"
    typer.echo(f"{out}: {report.pictures:,} pictures, {report.objects:,} {what}")
    for kind, count in report.left_out.items():
        typer.echo(f"warning: {count:,} of {kind} left out: {tool.value} has none", err=True)
