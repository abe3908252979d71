"""`coordexp data stats`."""

from pathlib import Path
from typing import Annotated

import typer

from coordexp.cli.sheets import print_sheets


def data_stats(
    file: Annotated[Path, typer.Argument(help="JSONL of records, in pixels or coord tokens.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="Count as the run of this YAML file will.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Count with this base, checkpoint or merged model.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="HTML page to write: the same, with plots.")
    ] = None,
) -> None:
    """Count the tokens, objects, sizes and words of records.

    Tokens are counted as training does, with the real template and tokenizer. No picture is
    opened. Where the run of --config has custom.class_list, what its questions name is counted
    too.
    """
    from rich.console import Console  # noqa: PLC0415

    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.data.files.jsonl import RecordFile  # noqa: PLC0415
    from coordexp.data.files.written_alphabet import load_alphabet  # noqa: PLC0415
    from coordexp.inspection.survey.encoding import source_of  # noqa: PLC0415
    from coordexp.inspection.survey.stats import file_stats  # noqa: PLC0415
    from coordexp.inspection.survey.stats_page import stats_page  # noqa: PLC0415
    from coordexp.inspection.survey.stats_tables import sheets  # noqa: PLC0415

    source = source_of(config=config, model=model, alphabet=load_alphabet(file) or SPEC_ALPHABET)
    records = RecordFile(file, source.style.alphabet)
    stats = file_stats(
        records,
        source.encoder(),
        limit=source.max_length,
        pack_buffer=source.pack_buffer,
        class_mix=source.class_mix(),
    )
    print_sheets(Console(highlight=False), sheets(stats))
    if out is not None:
        stats_page(stats, name=file.name, told=source.told).write(out)
        typer.echo(f"page: {out}")
