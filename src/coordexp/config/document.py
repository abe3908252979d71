"""The page `docs/config.md`, written from the schema.

Run as `python -m coordexp.config.document > docs/config.md`; a test fails when the page is stale.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from coordexp.config.problems import REMOVED, block_of
from coordexp.config.schema import Config

HEAD = """\
# Configuration

A run is described by one YAML file and nothing else: `coordexp train --config run.yaml`. This page
is generated from `coordexp.config.schema`; change the docstrings there and run
`python -m coordexp.config.document > docs/config.md`.

- `extends: base.yaml` or `extends: [base.yaml, ../presets/hard.yaml]` lays the file over others,
  relative to its own folder, the last one uppermost. Mappings merge key by key; anything else is
  replaced.
- Every other relative path is taken from the current directory.
- Only `true` and `false` are booleans. A number with an exponent needs a dot: `1.0e-4`.
- Unknown keys, duplicate keys and aliases are errors. Every problem is reported at once.
- Keys marked **required** have no default; every other key may be left out.
"""

NAMES: dict[object, str] = {
    bool: "true / false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    NoneType: "null",
}


def document() -> str:
    """Return `docs/config.md`."""
    parts = [HEAD]
    parts += ["\n".join(_section("", Config))]
    rules = "\n".join(f"- {cleandoc(rule.__doc__ or '')}" for rule in Config.rules)
    parts += [f"## Rules across blocks\n\n{rules}\n"]
    removed = "\n".join(f"- `{key}`: {way_out}." for key, way_out in REMOVED.items())
    parts += [f"## Removed keys\n\n{removed}\n"]
    return "\n".join(parts)


def _section(key: str, block: type[BaseModel]) -> Iterator[str]:
    if key:
        yield f"## `{key}`\n"
        yield cleandoc(block.__doc__ or "") + "\n"
    rows = list(_rows(block))
    if rows:
        yield "| Key | Value | Default | Meaning |"
        yield "|---|---|---|---|"
        yield from rows
        yield ""
    for name, field in block.model_fields.items():
        below = _plain_block(field) or _optional_block(field)
        if below is not None:
            yield from _section(f"{key}.{name}" if key else name, below)


def _rows(block: type[BaseModel]) -> Iterator[str]:
    for name, field in block.model_fields.items():
        if _plain_block(field) is None:
            value = spelled(field.annotation) + _bounds(field.metadata)
            cells = (f"`{name}`", value, _default(field), field.description or "")
            yield (
                "| "
                + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells)
                + " |"
            )


def _plain_block(field: FieldInfo) -> type[BaseModel] | None:
    """Return the block of a key that is always one, so that it gets a section of its own."""
    block = block_of(field.annotation)
    return block if block is field.annotation else None


def _optional_block(field: FieldInfo) -> type[BaseModel] | None:
    """Return the block of a key that is one or null, which has a row and a section."""
    parts = get_args(field.annotation)
    block = block_of(field.annotation)
    return block if set(parts) == {block, NoneType} else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = TypeAdapter(object).dump_python(field.default, mode="json")
    return (
        f"`{json.dumps(value, ensure_ascii=False)}`" if not isinstance(value, str) else f"`{value}`"
    )


def spelled(annotation: object) -> str:
    """Return a type in words.

    Example:
        >>> spelled(Annotated[int, Ge(2)] | None), spelled(tuple[str, ...])
        ('whole number ≥ 2 or null', 'list of text')
    """
    if annotation in NAMES:
        return NAMES[annotation]
    block = block_of(annotation) if get_origin(annotation) is None else None
    if block is not None:
        return "{" + ", ".join(block.model_fields) + "}"
    return FORMS[get_origin(annotation)](get_args(annotation))


FORMS: dict[object, Callable[[tuple[object, ...]], str]] = {
    Annotated: lambda parts: spelled(parts[0]) + _bounds(parts[1:]),
    Literal: lambda parts: ", ".join(f"`{part}`" for part in parts),
    Union: lambda parts: " or ".join(spelled(part) for part in parts),
    UnionType: lambda parts: " or ".join(spelled(part) for part in parts),
    tuple: lambda parts: f"list of {spelled(parts[0])}",
}


def _bounds(constraints: Iterable[object]) -> str:
    text = ""
    for constraint in constraints:
        match constraint:
            case Gt(gt=bound):
                text += f" > {bound}"
            case Ge(ge=bound):
                text += f" ≥ {bound}"
            case Lt(lt=bound):
                text += f" < {bound}"
            case MinLen():
                text += ", not empty"
            case FieldInfo(metadata=metadata):
                text += _bounds(metadata)
    return text


if __name__ == "__main__":
    sys.stdout.write(document())
