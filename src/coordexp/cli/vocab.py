"""`coordexp vocab expand`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from coordexp.cli.options import Overwrite


def vocab_expand(
    src: Annotated[Path, typer.Argument(help="Base checkpoint.")],
    dst: Annotated[Path, typer.Argument(help="The new checkpoint.")],
    init: Annotated[
        Literal["digits", "mean"],
        typer.Option(help="New rows: from the number's digits, or the mean of all rows."),
    ] = "digits",
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Add the coord tokens to a base checkpoint."""
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.model.vocab_expansion import expand_vocabulary  # noqa: PLC0415

    done = expand_vocabulary(src, dst, alphabet=SPEC_ALPHABET, init=init, overwrite=overwrite)
    typer.echo(
        f"{dst}: coord ids {done.first_id}..{done.last_id}, rows {done.rows_before} -> "
        f"{done.rows_after}, new rows by {done.init}, in {', '.join(done.tensors)}"
    )
