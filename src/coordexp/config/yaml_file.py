"""Strict YAML files and what they extend.

YAML as JSON with comments: mappings, lists, text, whole numbers, numbers with a dot, `true`,
`false` and `null`. Nothing turns into something else on the way: `no` is text, `1:30` is text,
`2026-01-31` is text, and a key that stands twice is an error instead of the later value.

Not covered: aliases, which could make a file refer to itself; `.inf` and `.nan`, which no key
takes; several documents in one file.
"""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path

import yaml
from typing_extensions import override

from coordexp.errors import ConfigError

EXTENDS = "extends"

YamlMapping = dict[str, object]


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader with JSON's types only, and no duplicate keys."""

    yaml_constructors = {  # noqa: RUF012 - PyYAML's own class attribute
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None
        or tag.rsplit(":", 1)[-1] in {"null", "bool", "int", "float", "str", "seq", "map"}
    }
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    @override
    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        first_line: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if key_node.tag != "tag:yaml.org,2002:str" or not key:
                raise _StrictnessError("keys are text", line)
            if key in first_line:
                raise _StrictnessError(
                    f"duplicate key {key!r}; it already stands on line {first_line[key]}", line
                )
            first_line[key] = line
        return super().construct_mapping(node, deep=deep)


# A subset of PyYAML's own spellings, so that what its dumper writes plain reads back as the same.
for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?", "-+.0123456789"),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


class _StrictnessError(Exception):
    """What is wrong, and on which line."""

    def __init__(self, message: str, line: int) -> None:
        self.message = message
        self.line = line
        super().__init__(message)


def load_yaml(path: Path) -> YamlMapping:
    """Return one file's mapping, `extends` included and not followed.

    Raises:
        ConfigError: If the file cannot be read, is not YAML, repeats a key or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    value = _parse(path, text)
    if not isinstance(value, dict):
        what = {type(None): "nothing", list: "a list"}.get(type(value), "a single value")
        raise ConfigError(f"{path}: expected a mapping of blocks such as model, data; got {what}")
    return value


def load_extended_yaml(path: Path) -> YamlMapping:
    """Return a file's mapping over the mappings that it extends, recursively.

    Raises:
        ConfigError: As `load_yaml`, and if `extends` is no path or list of paths, names a file that
            is not there, or comes back to a file that it started from.
    """
    return _extended(path, ())


def merged(under: Mapping[str, object], over: Mapping[str, object]) -> YamlMapping:
    """Return `over` laid upon `under`: mappings merge key by key, anything else is replaced.

    Example:
        >>> merged({"a": {"x": 1, "y": [1, 2]}}, {"a": {"y": [3]}})
        {'a': {'x': 1, 'y': [3]}}
    """
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def _parse(path: Path, text: str) -> object:
    try:
        _refuse_aliases(text)
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except _StrictnessError as error:
        raise ConfigError(f"{path}:{error.line}: {error.message}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        column = f" (column {mark.column + 1})" if mark else ""
        raise ConfigError(f"{place}: not valid YAML: {error.problem}{column}") from None
    except yaml.reader.ReaderError as error:
        message = f"character number {error.position + 1} is not allowed"
        raise ConfigError(f"{path}: not valid YAML: {message}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply for a configuration") from None


def _refuse_aliases(text: str) -> None:
    for event in yaml.parse(text, Loader=_StrictLoader):
        if isinstance(event, yaml.AliasEvent) and event.start_mark is not None:
            line = event.start_mark.line + 1
            raise _StrictnessError("aliases are not supported; use extends to share values", line)


def _extended(path: Path, chain: tuple[Path, ...]) -> YamlMapping:
    here = path.resolve()
    if here in chain:
        loop = " -> ".join(file.name for file in (*chain[chain.index(here) :], here))
        raise ConfigError(f"{chain[-1]}: extends loop: {loop}")
    own = load_yaml(path)
    result: YamlMapping = {}
    for base in _bases(path, own.pop(EXTENDS, [])):
        result = merged(result, _extended(base, (*chain, here)))
    return merged(result, own)


def _bases(path: Path, extends: object) -> list[Path]:
    names = extends if isinstance(extends, list) else [extends]
    bases = []
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{path}: extends: expected a path or a list of paths, got {name!r}")
        base = path.parent / name
        if not base.is_file():
            raise ConfigError(f"{path}: extends: no such file: {base}")
        bases.append(base)
    return bases
