"""What training and inference must agree on, as one frozen value."""

import json
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.plan.ordering import ObjectOrdering
from coordexp.errors import CheckpointError
from coordexp.families.boxes import StockAnswers
from coordexp.rendering.dense_json import JsonFormat


@dataclass(frozen=True, slots=True)
class RenderingStyle:
    """How a record is asked for and answered.

    Args:
        system_prompt: None leaves the system turn out.
        user_prompt: Follows the picture; a record's own `prompt` replaces it.
        json_format: Spaces in the answer's JSON.
        object_ordering: Order of the objects in the answer.
        coord_tokens: Coordinates as coord tokens; False writes the bins as plain integers.
        alphabet: Number and spelling of the bins.
        min_pixels: Smallest picture area; None for the base's own.
        max_pixels: Largest picture area; None for the base's own.
        stock: How a stock model answers, in its family's words; None for all that was trained here.
            It is no part of `coordexp.json`, which such a model does not have.
    """

    system_prompt: str | None
    user_prompt: str
    json_format: JsonFormat
    object_ordering: ObjectOrdering
    coord_tokens: bool
    alphabet: CoordAlphabet
    min_pixels: int | None
    max_pixels: int | None
    stock: StockAnswers | None = None


def style_to_json(style: RenderingStyle) -> dict[str, object]:
    """Return the style as JSON values, for `coordexp.json`."""
    section = asdict(style)
    del section["stock"]
    return section


def style_from_json(section: object) -> RenderingStyle:
    """Return the style that `style_to_json` wrote.

    Raises:
        CheckpointError: If a field is missing, unknown or of another type.
    """
    try:
        return TypeAdapter(RenderingStyle).validate_json(json.dumps(section))
    except ValidationError as error:
        raise CheckpointError(f"coordexp.json: style: {error}") from None
