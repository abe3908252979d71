"""From a YAML file to a checked configuration, and back."""

import json
from pathlib import Path

import yaml
from pydantic import ValidationError

from coordexp.config.problems import find_problems
from coordexp.config.schema import Config
from coordexp.config.yaml_file import YamlMapping, load_extended_yaml
from coordexp.errors import ConfigError

_WIDTH = 100


def load_config(path: Path | str) -> Config:
    """Return the configuration that a file and what it extends describe.

    Raises:
        ConfigError: If a file cannot be read, or with every problem of the result, by dotted path.
    """
    return check_config(load_extended_yaml(Path(path)), name=str(path))


def check_config(raw: YamlMapping, *, name: str) -> Config:
    """Return the configuration that decoded YAML describes.

    Args:
        raw: The YAML.
        name: Where it comes from, for messages.

    Raises:
        ConfigError: With every problem, by dotted path.
    """
    # Through JSON: there strict validation still turns lists into tuples and text into paths.
    try:
        return Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        problems = find_problems(error, raw)
    lines = "".join(f"\n  {problem}" for problem in problems)
    raise ConfigError(f"{name}: {len(problems)} problem(s){lines}")


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, every default written out; loading it gives it again."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(
        values, sort_keys=False, allow_unicode=_reads_back(json.dumps(values)), width=_WIDTH
    )


def _reads_back(escaped: str) -> bool:
    """Return whether PyYAML reads back what it writes unescaped: it loses these line separators."""
    return not any(separator in escaped for separator in ("\\u0085", "\\u2028", "\\u2029"))
