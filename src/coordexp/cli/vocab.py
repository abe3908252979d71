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
    pad_only: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--pad-only", help="Add no tokens, only rows up to a multiple of 128."),
    ] = False,
    dry_run: Annotated[  # noqa: FBT002
        bool, typer.Option("--dry-run", help="Check and say what would be done; write nothing.")
    ] = False,
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Add the coord tokens to a base checkpoint."""
    from coordexp.coord_tokens.codec import SPEC_ALPHABET  # noqa: PLC0415
    from coordexp.model.vocab_expansion import expand_vocabulary, pad_vocabulary  # noqa: PLC0415

    if pad_only:
        done = pad_vocabulary(src, dst, overwrite=overwrite, dry_run=dry_run)
    else:
        done = expand_vocabulary(
            src, dst, alphabet=SPEC_ALPHABET, init=init, overwrite=overwrite, dry_run=dry_run
        )
    parts = [f"rows {done.rows_before} -> {done.rows_after} in {' and '.join(done.tensors)}"]
    if done.coord_ids is not None:
        first, last = done.coord_ids
        parts.insert(0, f"coord ids {first}..{last}, their rows by {done.init}")
    parts.append(f"{done.num_bytes / 1e9:.2f} GB")
    would = "dry run, nothing written: " if dry_run else ""
    typer.echo(f"{would}{dst}: {'; '.join(parts)}")
