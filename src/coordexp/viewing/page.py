"""A self-contained page out of a template.

A page's template lies in `templates/` beside the module that makes it, and extends
`viewing/frame.html.j2`. Everything is inline: style, script, pictures, charts. The page's own
policy forbids it to load anything, it reads well on a phone and in the dark, and without its
script nothing but comfort is lost.

There is one way from a value to a page: the environment built here, which escapes all text. No
value is trusted, so there is neither `Markup` in the code nor `safe` in a template.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

from coordexp.files import write_text
from coordexp.viewing.draw import PREDICTED_COLOUR, TRUE_COLOUR

_SHARED = "coordexp.viewing"


@dataclass(frozen=True, slots=True)
class Page:
    """A template and what it shows.

    Args:
        maker: The module that makes the page; `templates/` beside it holds the template.
        template: Name of the template.
        title: The page's name.
        subtitle: One sentence below.
        values: What the template shows, by the names that it knows.
    """

    maker: str
    template: str
    title: str
    subtitle: str = ""
    values: Mapping[str, object] = field(default_factory=dict)

    def render(self) -> str:
        """Return the whole document.

        Raises:
            UndefinedError: If the template shows what `values` does not hold.
        """
        template = build_environment(self.maker).get_template(self.template)
        return template.render(title=self.title, subtitle=self.subtitle, **self.values)

    def write(self, path: Path) -> None:
        """Write the page; it appears under its name when it is complete."""
        write_text(path, self.render())


@cache
def build_environment(maker: str) -> Environment:
    """Return what renders the templates beside a module.

    The shared ones are found under `viewing/`; nobody's own template can take their place.

    Args:
        maker: Name of the module.
    """
    shared = PrefixLoader({"viewing": PackageLoader(_SHARED)})
    environment = Environment(
        loader=ChoiceLoader([shared, PackageLoader(maker)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(true_colour=TRUE_COLOUR, predicted_colour=PREDICTED_COLOUR)
    return environment
