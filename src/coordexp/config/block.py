"""What every block of the configuration has in common, and the kinds of value that several use."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Block(BaseModel):
    """A mapping of known keys, immutable; the text under a key is its line in `docs/config.md`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def kind_of_value(value: object) -> str:
    """Return which branch of a union a value means: `text`, `list` or `mapping`.

    With it as discriminator an error names one branch, the one that the user wrote.
    """
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list | tuple) else "mapping"
