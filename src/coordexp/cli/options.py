"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.processes import is_first_rank

if TYPE_CHECKING:
    from coordexp.model.hub import FoundModel, WantedFiles

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]

Spelling = Annotated[
    str | None,
    typer.Option(
        "--alphabet",
        metavar="PATTERN",
        help="How a bin is spelled, with one field for its number, such as '<loc{:04d}>'; "
        f"'{SPEC_ALPHABET.pattern}' by default.",
    ),
]
Bins = Annotated[
    int | None, typer.Option(min=2, help=f"Bins on one axis; {SPEC_ALPHABET.bins} by default.")
]


Revision = Annotated[
    str | None,
    typer.Option(help="Commit, tag or branch of a model of a hub; its main branch by default."),
]


def find_given(
    model: str, revision: str | None, wanted: "WantedFiles | None" = None
) -> "FoundModel":
    """Return the model of a command, given by path or by name, and say which commit is used.

    Args:
        model: A path or OWNER/NAME.
        revision: Of `--revision`.
        wanted: What is needed of it; None for all that it is loaded from.
    """
    from coordexp.model.hub import WHOLE_MODEL, find_model  # noqa: PLC0415

    return find_model(
        model,
        revision=revision,
        wanted=wanted or WHOLE_MODEL,
        say=lambda words: typer.echo(words, err=True) if is_first_rank() else None,
    )


def parse_alphabet(spelling: str | None, bins: int | None) -> CoordAlphabet | None:
    """Return the alphabet of `--alphabet` and `--bins`; None where neither was given.

    Only the specification's spelling has a wildcard.

    Raises:
        BadParameter: If the pattern does not spell every bin differently.
    """
    if spelling is None and bins is None:
        return None
    pattern = SPEC_ALPHABET.pattern if spelling is None else spelling
    wildcard = SPEC_ALPHABET.wildcard if pattern == SPEC_ALPHABET.pattern else None
    try:
        return CoordAlphabet(pattern, SPEC_ALPHABET.bins if bins is None else bins, wildcard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--alphabet") from None
