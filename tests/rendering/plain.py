"""How most tests have a model asked."""

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.rendering.style import RenderingStyle

PLAIN_STYLE = RenderingStyle(
    system_prompt=None,
    user_prompt="Find every digit.",
    json_format="standard",
    object_ordering="sorted",
    coord_tokens=True,
    alphabet=SPEC_ALPHABET,
    min_pixels=None,
    max_pixels=None,
)
