from collections.abc import Callable
from pathlib import Path

import pytest

from coordexp.config.load import load_config
from coordexp.config.problems import REMOVED, known_keys
from coordexp.config.schema import Config
from coordexp.errors import ConfigError

WriteYaml = Callable[..., Path]


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cutsom: {}", "cutsom: unknown key; did you mean 'custom'?"),
        (
            "custom: {coord_offset: {embed_Ir: 1.0}}",
            "custom.coord_offset.embed_Ir: unknown key; did you mean 'embed_lr'?",
        ),
        (
            "custom: {coord_offset: {ids: {strat: 1, start: 0, end: 999}}}",
            "custom.coord_offset.ids.strat: unknown key; did you mean 'start'?",
        ),
        (
            "tuner: {learning_rate: 1.0}",
            "tuner.learning_rate: unknown key; did you mean 'training.learning_rate'?",
        ),
        ("training: {packed: true}", "training.packed: unknown key; did you mean 'packing'?"),
        ("zzz: 1", "zzz: unknown key"),
        ("tuner: {use_dora: 1}", "tuner.use_dora: Input should be a valid boolean (got 1)"),
        (
            "tuner: {use_dora: yes}",
            "tuner.use_dora: Input should be a valid boolean (got 'yes'); write true or false",
        ),
        (
            "training: {learning_rate: true}",
            "training.learning_rate: Input should be a valid number (got true)",
        ),
        (
            "training: {learning_rate: 1.5e4}",
            "training.learning_rate: Input should be a valid number (got '1.5e4'); "
            "YAML needs a sign: 1.5e+4",
        ),
        ("training: {seed: '7'}", "training.seed: Input should be a valid integer (got '7')"),
        (
            "training: {report_to: 3}",
            "training.report_to: Input should be one of 'text', 'list' (got 3)",
        ),
        (
            "tuner: {target_modules: all}",
            "tuner.target_modules: Input should be 'all-linear' (got 'all')",
        ),
        ("custom:", "custom: Input should be an object (got null)"),
        (
            "custom: {json_format: null}",
            "custom.json_format: Input should be 'standard' or 'compact' (got null)",
        ),
        ("data: {eval: 3}", "data.eval: Input should be a valid string (got 3)"),
    ],
)
def test_one_problem_is_one_line(write_yaml: WriteYaml, text: str, expected: str) -> None:
    found = problems_of(write_yaml(text))
    assert [
        line.replace("Input is not a valid path", "Input should be a valid string")
        for line in found
    ] == [expected]


@pytest.mark.parametrize("key", REMOVED)
def test_a_removed_key_names_the_way_out(write_yaml: WriteYaml, key: str) -> None:
    block, name = key.split(".")
    assert problems_of(write_yaml(f"{block}: {{{name}: 1}}")) == [
        f"{key}: removed key; {REMOVED[key]}"
    ]


def test_no_removed_key_is_still_in_the_schema() -> None:
    assert not set(REMOVED) & set(known_keys(Config))


def test_required_keys_are_named(write_yaml: WriteYaml) -> None:
    path = write_yaml("model: {}\nhost: plain\n", complete=False)
    assert problems_of(path) == [
        "model.path: required key is missing",
        "training: required key is missing",
        "data: required key is missing",
    ]


def test_problems_come_in_the_order_of_the_file(write_yaml: WriteYaml) -> None:
    text = "tuner: {b: 1, lora_rank: 0, a: 1}\ndeepspeed: [1]\n"
    assert [line.split(":")[0] for line in problems_of(write_yaml(text))] == [
        "tuner.b",
        "tuner.lora_rank",
        "tuner.a",
        "deepspeed",
    ]


def test_broken_rules_are_reported_beside_wrong_keys(write_yaml: WriteYaml) -> None:
    text = """\
training: {output_dri: x}
custom: {coord_tokens: {enabled: true}}
"""
    found = problems_of(write_yaml(text, complete=False))
    assert "training.output_dri: unknown key; did you mean 'output_dir'?" in found
    assert "model: required key is missing" in found
    assert (
        "custom.coord_tokens.enabled: coord tokens need custom.coord_soft_ce_w1.enabled: true"
        in found
    )


def test_a_rule_says_nothing_about_a_key_that_is_itself_in_doubt(write_yaml: WriteYaml) -> None:
    text = "custom: {coord_tokens: {enabled: true}, coord_soft_ce_w1: {enabeld: true}}"
    assert problems_of(write_yaml(text)) == [
        "custom.coord_soft_ce_w1.enabeld: unknown key; did you mean 'enabled'?"
    ]


def test_a_long_value_is_cut(write_yaml: WriteYaml) -> None:
    (line,) = problems_of(write_yaml(f"training: {{seed: {'x' * 500}}}"))
    assert line.endswith("...)")
    assert len(line) < 150
