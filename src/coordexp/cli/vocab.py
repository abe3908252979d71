"""`coordexp vocab expand`, `coordexp vocab fit` and `coordexp vocab graft`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from coordexp.cli.options import Bins, Overwrite, Revision, Spelling, find_given, parse_alphabet


def vocab_expand(
    src: Annotated[
        str, typer.Argument(help="Base checkpoint: its folder, or OWNER/NAME on a hub.")
    ],
    dst: Annotated[Path, typer.Argument(help="The new checkpoint.")],
    init: Annotated[
        Literal["digits", "mean"],
        typer.Option(help="New rows: from the number's digits, or the mean of all rows."),
    ] = "digits",
    spelling: Spelling = None,
    bins: Bins = None,
    revision: Revision = None,
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
    from coordexp.files import check_writable  # noqa: PLC0415
    from coordexp.model.vocab_expansion import expand_vocabulary, pad_vocabulary  # noqa: PLC0415

    alphabet = parse_alphabet(spelling, bins)
    if pad_only and alphabet is not None:
        raise typer.BadParameter("--pad-only adds no tokens; leave --alphabet and --bins out")
    check_writable(dst, overwrite=overwrite)  # before gigabytes are fetched
    base = find_given(src, revision)
    if pad_only:
        done = pad_vocabulary(
            base.path, dst, origin=base.origin, overwrite=overwrite, dry_run=dry_run
        )
    else:
        done = expand_vocabulary(
            base.path,
            dst,
            origin=base.origin,
            alphabet=alphabet or SPEC_ALPHABET,
            init=init,
            overwrite=overwrite,
            dry_run=dry_run,
        )
    parts = [f"rows {done.rows_before} -> {done.rows_after} in {' and '.join(done.tensors)}"]
    if done.coord_ids is not None:
        first, last = done.coord_ids
        parts.insert(0, f"coord ids {first}..{last}, their rows by {done.init}")
    parts.append(f"{done.num_bytes / 1e9:.2f} GB")
    would = "dry run, nothing written: " if dry_run else ""
    typer.echo(f"{would}{dst}: {'; '.join(parts)}")


def vocab_fit(
    base: Annotated[Path, typer.Argument(help="A base that answers in integers.")],
    records: Annotated[Path, typer.Argument(help="JSONL of records, a few hundred.")],
    dst: Annotated[Path, typer.Argument(help="The base with coord tokens.")],
    batch_size: Annotated[int, typer.Option(min=1, help="Records at once.")] = 8,
    overwrite: Overwrite = False,  # noqa: FBT002
) -> None:
    """Add coord tokens whose rows are fitted to what a base knows.

    Where the base is about to write a number, its hidden state knows which: the rows are fitted to
    read it. In place of vocab expand; nothing is trained, and nothing else of the base changes.
    """
    from coordexp.lab.fit import fit_base  # noqa: PLC0415

    done = fit_base(base, records, dst, batch_size=batch_size, overwrite=overwrite)
    typer.echo(
        f"{dst}: rows fitted to {done.numbers} numbers; of {done.heldout} others the likeliest bin "
        f"is {done.median_error:g} bins off in the middle, at most 5 for {done.near_share:.0%}"
    )


def vocab_graft(
    base: Annotated[Path, typer.Argument(help="A base that answers in integers.")],
    pictures: Annotated[Path, typer.Argument(help="JSONL of records, or a folder of pictures.")],
    dst: Annotated[Path, typer.Argument(help="The grafted base.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML: what is trained, how long, how fast; none: nothing.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures asked about at once.")] = 8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
) -> None:
    """Teach coord tokens what a base says in digits.

    No labels are needed: the base is asked about the pictures, the rows of the coord tokens are
    fitted to what it knows when it answers, and with --config trained on its answers. Once for a
    base, before any task. A graft that was stopped goes on when the same command is given again.
    """
    from coordexp.lab.graft import GraftOptions, graft  # noqa: PLC0415

    options = GraftOptions(config=config, batch_size=batch_size, max_new_tokens=max_new_tokens)
    figures = graft(base, pictures, dst, options)
    for name in ("agreement", "base", "grafted"):
        if name in figures:
            found = figures[name]
            typer.echo(f"{name}: AP {found['AP']:.3f}, F1@0.5 {found['F1@0.5']:.3f}")
    typer.echo(f"{dst}: grafted")
