"""Elements of pages as HTML, without the page around them."""

from coordexp.viewing.page import build_environment

_PAGE = """{% extends "viewing/frame.html.j2" %}
{% from "viewing/elements.html.j2" import section %}
{% block sections %}{% call section(contents, "All") %}{{ MACRO(value) }}{% endcall %}{% endblock %}
"""


def rendered(macros: str, name: str, *values: object) -> str:
    """Return what a macro makes of values.

    Args:
        macros: The shared template that holds it, without its ending.
        name: Of the macro.
        values: Its arguments.
    """
    template = build_environment("coordexp.viewing.page").get_template(f"viewing/{macros}.html.j2")
    return str(getattr(template.module, name)(*values))


def rendered_page(macros: str, name: str, value: object) -> str:
    """Return a page of nothing but what a macro makes of a value."""
    importing = f'{{% from "viewing/{macros}.html.j2" import {name} %}}'
    source = _PAGE.replace("{% block", importing + "{% block", 1).replace("MACRO", name)
    environment = build_environment("coordexp.viewing.page")
    return environment.from_string(source).render(title=name, subtitle="", value=value)
