from pathlib import Path

import pytest

from coordexp.config.yaml_file import load_extended_yaml, load_yaml
from coordexp.errors import ConfigError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_those_of_json_and_nothing_else(tmp_path: Path) -> None:
    text = """\
    truth: true
    nothing: null
    blank:
    whole: -12
    number: 1.5e-4
    strategy: no
    clock: 1:30
    day: 2026-01-31
    octal: 010
    exponent: 1e-4
    list: [a, 1]
    """
    assert load_yaml(written(tmp_path, "a.yaml", text)) == {
        "truth": True,
        "nothing": None,
        "blank": None,
        "whole": -12,
        "number": 1.5e-4,
        "strategy": "no",
        "clock": "1:30",
        "day": "2026-01-31",
        "octal": "010",
        "exponent": "1e-4",
        "list": ["a", 1],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", r"a\.yaml:4: duplicate key 'c'; .* line 3"),
        ("a: [1,\nb: 2", r"a\.yaml:2: not valid YAML: .* \(column 5\)"),
        ("a: b: c", r"a\.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("a: !!python/object:os.system x", r"a\.yaml:1: not valid YAML: could not determine"),
        ("a: b\n---\nc: d\n", r"a\.yaml:2: not valid YAML: but found another document"),
        ("a: \x00", r"a\.yaml: not valid YAML: character number 4 is not allowed"),
        ("a: &x [1]\nb: *x\n", r"a\.yaml:2: aliases are not supported; use extends"),
        ("1: 2", r"a\.yaml:1: keys are text"),
        ("'': 2", r"a\.yaml:1: keys are text"),
        ("? [a]\n: 2", r"a\.yaml:1: keys are text"),
        ("", r"a\.yaml: expected a mapping of blocks .* got nothing"),
        ("- 1\n", r"a\.yaml: expected a mapping of blocks .* got a list"),
        ("text", r"a\.yaml: expected a mapping of blocks .* got a single value"),
        ("[" * 500 + "]" * 500, r"a\.yaml: nested too deeply"),
    ],
)
def test_a_file_that_is_no_mapping_names_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_yaml(written(tmp_path, "a.yaml", text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_yaml(tmp_path / "none.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"a\.yaml: not UTF-8 text: .* at byte 3"):
        load_yaml(tmp_path / "a.yaml")


def test_mappings_merge_and_everything_else_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path, "root.yaml", "a: {x: 1, y: [1, 2], z: {p: 1}}\nb: 1\n")
    written(tmp_path / "deep", "side.yaml", "extends: ../root.yaml\nb: {q: 1}\n")
    written(tmp_path, "other.yaml", "a: {x: 2}\n")
    top = written(
        tmp_path, "top.yaml", "extends: [deep/side.yaml, other.yaml]\na: {y: [3], z: null}\n"
    )
    assert load_extended_yaml(top) == {"a": {"x": 2, "y": [3], "z": None}, "b": {"q": 1}}


def test_the_same_base_may_be_reached_twice(tmp_path: Path) -> None:
    written(tmp_path, "root.yaml", "a: 1\n")
    written(tmp_path, "left.yaml", "extends: root.yaml\n")
    written(tmp_path, "right.yaml", "extends: root.yaml\n")
    top = written(tmp_path, "top.yaml", "extends: [left.yaml, right.yaml]\n")
    assert load_extended_yaml(top) == {"a": 1}


def test_an_extends_loop_is_drawn(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", "extends: b.yaml\n")
    written(tmp_path, "b.yaml", "extends: ./a.yaml\n")
    with pytest.raises(ConfigError, match=r"b\.yaml: extends loop: a\.yaml -> b\.yaml -> a\.yaml$"):
        load_extended_yaml(tmp_path / "a.yaml")


def test_a_missing_base_names_both_files(tmp_path: Path) -> None:
    top = written(tmp_path, "top.yaml", "extends: none.yaml\n")
    with pytest.raises(ConfigError, match=r"top\.yaml: extends: no such file: .*none\.yaml"):
        load_extended_yaml(top)


@pytest.mark.parametrize("extends", ["3", "[1]", "{a: b}", "null", "''"])
def test_extends_takes_paths_only(tmp_path: Path, extends: str) -> None:
    top = written(tmp_path, "top.yaml", f"extends: {extends}\n")
    with pytest.raises(ConfigError, match="extends: expected a path or a list of paths"):
        load_extended_yaml(top)
