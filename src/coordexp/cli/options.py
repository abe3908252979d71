"""Options that several commands share."""

from typing import Annotated

import typer

from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet

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
