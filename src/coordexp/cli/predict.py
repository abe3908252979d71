"""`coordexp predict`."""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    model: Annotated[Path, typer.Option(help="Merged model or adapter checkpoint.")],
    data: Annotated[Path, typer.Option(help="JSONL of records.")],
    out: Annotated[Path, typer.Option(help="predictions.jsonl to write.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
) -> None:
    """Answer every record.

    The prompt and all else come from the model's coordexp.json.
    """
    from coordexp.inference.predict import load_predictor, predict_file  # noqa: PLC0415

    count = predict_file(
        load_predictor(model), data, out, batch_size=batch_size, max_new_tokens=max_new_tokens
    )
    typer.echo(f"{out}: {count} predictions")
