"""`coordexp data view`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LabelChoice(StrEnum):
    """Whether objects have labels."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


def data_view(
    file: Annotated[Path, typer.Argument(help="JSONL of records, in pixels or coord tokens.")],
    out: Annotated[Path, typer.Option(help="HTML page to write.")],
    limit: Annotated[int, typer.Option(min=1, help="Show so many records, the first.")] = 100,
    sample: Annotated[  # noqa: FBT002
        bool, typer.Option("--sample", help="Choose them at random, not the first.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of --sample.")] = 0,
    config: Annotated[
        Path | None, typer.Option("--config", help="Write answers as the run of this YAML does.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Write answers as this model was trained to.")
    ] = None,
    labels: Annotated[
        LabelChoice, typer.Option(help="Names on the pictures; auto where at most 30 objects are.")
    ] = LabelChoice.AUTO,
) -> None:
    """Draw records as a page to browse.

    Each picture stands beside the answer that training teaches, and beside what the coord tokens
    do to each box: pixels, bins, pixels again and how far they are off. Without --config and
    --model the answer has every default, in coord tokens.
    """
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.data.files.jsonl import RecordFile  # noqa: PLC0415
    from coordexp.data.files.written_alphabet import load_alphabet  # noqa: PLC0415
    from coordexp.inspection.survey.encoding import default_style, source_of  # noqa: PLC0415
    from coordexp.inspection.survey.gallery import chosen_records, gallery_page  # noqa: PLC0415

    alphabet = load_alphabet(file) or SPEC_ALPHABET
    if config is None and model is None:
        style = default_style(coord_tokens=True, alphabet=alphabet)
    else:
        style = source_of(config=config, model=model, alphabet=alphabet).style
    records = RecordFile(file, style.alphabet)
    chosen = chosen_records(len(records), limit=limit, seed=seed if sample else None)
    gallery_page(records, chosen, style, labels=labels.value).write(out)
    typer.echo(f"page: {out}, {len(chosen)} of {len(records):,} records")
