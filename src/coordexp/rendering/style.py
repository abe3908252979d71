"""What training and inference must agree on, as one frozen value."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter, ValidationError

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.plan.class_lists import name_classes
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
        class_prompt: The question with a place for the classes that are asked for, `{classes}`;
            None where it is always the same. `user_prompt` is this one for all that were trained.
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
    class_prompt: str | None = None
    stock: StockAnswers | None = None

    def asking_for(self, classes: Sequence[str]) -> "RenderingStyle":
        """Return the same with a question for these classes, where it can ask for some."""
        question = self.question_for(classes)
        return self if question is None else replace(self, user_prompt=question)

    def question_for(self, classes: Sequence[str]) -> str | None:
        """Return the question for some classes; None where it is always the same."""
        if not classes:
            return None
        if self.stock is not None:
            return self.stock.boxes.ask(classes)
        return None if self.class_prompt is None else name_classes(self.class_prompt, classes)


def style_to_json(style: RenderingStyle) -> dict[str, object]:
    """Return the style as JSON values, for `coordexp.json`."""
    section = asdict(style)
    del section["stock"]
    if style.class_prompt is None:  # else a model that has none could not be read by older versions
        del section["class_prompt"]
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
