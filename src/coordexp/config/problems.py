"""What is wrong with a configuration, in the user's words: all of it at once, by dotted path."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import override

from coordexp.config.schema import BrokenRule, BrokenRulesError, Config
from coordexp.config.yaml_file import merged

REMOVED = {
    "custom.coord_loss": "the coord objective is custom.coord_soft_ce_w1",
    "custom.coord_expectation_metrics": (
        "no coordinate is decoded while training; measure boxes with `coordexp evaluate`"
    ),
    "custom.expectation_metrics": (
        "no coordinate is decoded while training; measure boxes with `coordexp evaluate`"
    ),
    "training.warmup_ratio": (
        "transformers 5 has training.warmup_steps alone; below 1 it is the share of all steps"
    ),
}
"""Keys of earlier versions, and the way out of each."""

_STAND_INS = {"model": {"path": "?"}, "training": {"output_dir": "?"}, "data": {"train": "?"}}
"""Values for the required keys, which no rule reads, so that rules are checked where one is
missing."""
_NUMBER_WITHOUT_DOT = re.compile(r"([-+]?)([0-9]+)(\.[0-9]*)?[eE]([-+]?)([0-9]+)")
_YAML_1_1_BOOLEANS = {"yes", "no", "on", "off", "y", "n"}
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class ConfigProblem:
    """One line of the message.

    Args:
        key: Dotted path; empty for the file as a whole.
        message: What was expected, what came, what to do.
        meant: The key that was probably meant, where another one was written.
    """

    key: str
    message: str
    meant: str | None = None

    def touches(self, key: str) -> bool:
        """Return whether the value under `key` is in doubt because of this problem."""
        return any(
            key == doubtful or key.startswith(f"{doubtful}.") or doubtful.startswith(f"{key}.")
            for doubtful in (self.key, self.meant)
            if doubtful is not None
        )

    @override
    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


def find_problems(error: ValidationError, raw: Mapping[str, object]) -> tuple[ConfigProblem, ...]:
    """Return all problems of a mapping that did not validate, in the order of the file.

    Pydantic checks rules across blocks only once every key is right by itself. To report both
    together, the keys in doubt are left out and the rest is checked again; a rule that reads one
    of them is then not reported.
    """
    problems = [_problem(one, raw) for one in error.errors() if one["loc"]]
    rest = merged(_STAND_INS, _without(raw, problems))
    problems += [
        ConfigProblem(rule.key, rule.message)
        for rule in _broken_rules(rest)
        if not any(problem.touches(key) for problem in problems for key in rule.reads)
    ]
    place = {key: number for number, key in enumerate(_dotted_keys(raw))}
    return tuple(sorted(problems, key=lambda problem: place.get(problem.key, len(place))))


def _problem(error: ErrorDetails, raw: Mapping[str, object]) -> ConfigProblem:
    key = _dotted(error["loc"], raw, missing=error["type"] == "missing")
    if error["type"] == "extra_forbidden":
        return _unknown(key, error["loc"])
    return ConfigProblem(key, _message(error))


def _message(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] == "missing":
        return "required key is missing"
    if error["type"] == "value_error":
        return str(context["error"])
    value = error["input"]
    message = error["msg"]
    if error["type"] == "union_tag_invalid":
        message = f"Input should be one of {context['expected_tags']}"
    return f"{message} (got {_shown(value)}){_hint(error['type'], value)}"


def _hint(error_type: str, value: object) -> str:
    if not isinstance(value, str):
        return ""
    if error_type == "bool_type" and value.lower() in _YAML_1_1_BOOLEANS:
        return "; write true or false"
    number = _NUMBER_WITHOUT_DOT.fullmatch(value)
    if error_type != "float_type" or number is None:
        return ""
    sign, whole, fraction, exponent_sign, exponent = number.groups()
    spelled = f"{sign}{whole}{fraction or '.0'}e{exponent_sign or '+'}{exponent}"
    return f"; YAML needs a {'sign' if fraction else 'dot'}: {spelled}"


def _unknown(key: str, loc: tuple[int | str, ...]) -> ConfigProblem:
    if key in REMOVED:
        return ConfigProblem(key, f"removed key; {REMOVED[key]}")
    parent, _, name = key.rpartition(".")
    close = get_close_matches(name, _block_at(loc).model_fields, n=1)
    if close:
        meant = f"{parent}.{close[0]}" if parent else close[0]
        return ConfigProblem(key, f"unknown key; did you mean {close[0]!r}?", meant)
    elsewhere = [known for known in known_keys(Config) if known.rpartition(".")[2] == name]
    if len(elsewhere) == 1:
        return ConfigProblem(key, f"unknown key; did you mean {elsewhere[0]!r}?", elsewhere[0])
    return ConfigProblem(key, "unknown key")


def known_keys(block: type[BaseModel]) -> Iterator[str]:
    """Yield the dotted path of every key below a block, blocks before what is in them."""
    for name, field in block.model_fields.items():
        yield name
        below = block_of(field.annotation)
        if below is not None:
            yield from (f"{name}.{key}" for key in known_keys(below))


def block_of(annotation: object) -> type[BaseModel] | None:
    """Return the block that a type is or may be, as in `Block | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (block_of(argument) for argument in get_args(annotation))
    return next((block for block in found if block is not None), None)


def _block_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    block: type[BaseModel] = Config
    for part in loc[:-1]:
        field = block.model_fields.get(str(part))
        below = block_of(field.annotation) if field is not None else None
        block = below or block
    return block


def _dotted(loc: tuple[int | str, ...], raw: object, *, missing: bool) -> str:
    """Return pydantic's location as the user would write it: the tags of unions left out."""
    key, value = "", raw
    for number, part in enumerate(loc, start=1):
        if isinstance(value, Mapping) and (part in value or (missing and number == len(loc))):
            key = f"{key}.{part}" if key else str(part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            key += f"[{part}]"
            value = value[part]
    return key


def _dotted_keys(raw: Mapping[str, object], under: str = "") -> Iterator[str]:
    for name, value in raw.items():
        yield under + name
        if isinstance(value, Mapping):
            yield from _dotted_keys(value, f"{under}{name}.")


def _without(
    raw: Mapping[str, object], problems: list[ConfigProblem], under: str = ""
) -> dict[str, object]:
    doubtful = {problem.key.partition("[")[0] for problem in problems}
    return {
        name: _without(value, problems, f"{under}{name}.") if isinstance(value, Mapping) else value
        for name, value in raw.items()
        if under + name not in doubtful
    }


def _broken_rules(raw: Mapping[str, object]) -> tuple[BrokenRule, ...]:
    try:
        Config.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        for one in error.errors():
            rules = one.get("ctx", {}).get("error")
            if isinstance(rules, BrokenRulesError):
                return rules.broken
    return ()


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
