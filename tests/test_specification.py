"""Every table of `docs/specification.md` is walked: what the page names is there."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import BaseModel

from coordexp.config.load import check_config
from coordexp.config.schema import Config
from coordexp.errors import ConfigError
from coordexp.objective import CoordTarget, CoordWeights, stage1_loss
from coordexp.rendering.token_types import DESC, STRUCT
from coordexp.training.step.loss_function import Objective
from coordexp.training.watch.diagnostics import LossWindow

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "specification.md").read_text("utf-8")
Row = list[str]


def rows_of(heading: str) -> list[Row]:
    """Return the cells of the table under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


def spans(cell: str) -> list[str]:
    """Return what a cell has between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def here(heading: str, least: int) -> list[tuple[str, str]]:
    """Return, of each row of a table, its first cell and what is named in the column `here`."""
    rows = rows_of(heading)
    assert len(rows) >= least
    return [(row[0], span) for row in rows for span in spans(row[2])]


def found(dotted: str) -> object:
    """Return what a dotted name stands for."""
    parts = dotted.split(".")
    value: object = import_module(parts[0])
    for number, part in enumerate(parts[1:], start=2):
        try:
            value = getattr(value, part)
        except AttributeError:
            value = import_module(".".join(parts[:number]))
    return value


def field_of(key: str) -> tuple[type[BaseModel], str]:
    """Return the block of the schema that a dotted key lies in, and its last name."""
    block: type[BaseModel] = Config
    *path, last = key.split(".")
    for part in path:
        block = block.model_fields[part].annotation  # type: ignore[assignment]
    assert last in block.model_fields, key
    return block, last


@pytest.mark.parametrize(
    "name", [name for _, name in here("Names", 30) if name.startswith("coordexp.")]
)
def test_a_name_can_be_imported(name: str) -> None:
    assert found(name) is not None


def test_every_name_of_the_documents_has_a_place() -> None:
    without = [row[0] for row in rows_of("Names") if "`coordexp." not in row[2]]
    assert not without


@pytest.mark.parametrize("path", [path for _, path in here("Files", 20)])
def test_a_file_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("key", [row[2].strip("`") for row in rows_of("Configuration")[:-2]])
def test_a_key_is_in_the_schema_with_its_default(key: str) -> None:
    block, last = field_of(key)
    (row,) = (row for row in rows_of("Configuration") if row[2] == f"`{key}`")
    default = json.dumps(block.model_fields[last].get_default(call_default_factory=True))
    assert row[3].strip(" |`") == default


@pytest.mark.parametrize("key", ["coord_loss", "expectation_metrics"])
def test_a_removed_key_is_refused(key: str) -> None:
    assert f"custom.{key}" in PAGE
    raw = {"model": {"path": "m"}, "training": {"output_dir": "o"}, "data": {"train": "t"}}
    with pytest.raises(ConfigError, match=rf"custom\.{key}: removed key"):
        check_config({**raw, "custom": {key: {}}}, name="run.yaml")


def emitted() -> set[str]:
    """Return the keys of a log's line about the loss of a tiny batch with types of tokens."""
    objective = Objective(
        coord_ids=range(4, 8),
        weights=CoordWeights(ce=0.0, soft_ce=1.0, w1=1.0, gate=1.0),
        target=CoordTarget(2.0, 16, 1.0, "fraction", "soft"),
        backend="reference",
    )
    window = LossWindow(objective)
    output = stage1_loss(
        torch.ones(3, 2),
        torch.ones(9, 2),
        torch.tensor([1, 5, 2]),
        coord_ids=torch.arange(4, 8),
        head_offset=None,
        weights=objective.weights,
        target=objective.target,
        denominators=None,
        backend="reference",
    )
    window.add(output, torch.tensor([[0, DESC, 0, STRUCT]]))
    return set(window.read(lambda sums: sums))


def test_the_metrics_are_the_ones_that_are_logged() -> None:
    assert {key for _, key in here("Metrics", 10)} == emitted()


@pytest.mark.parametrize("named", [named for _, named in here("Scenarios", 18)])
def test_a_scenario_has_its_test(named: str) -> None:
    path, _, name = named.partition("::")
    source = (ROOT / path).read_text("utf-8")
    assert not name or f"def {name}(" in source


def test_the_documents_of_the_page_are_those_of_its_tables() -> None:
    letters = set(re.findall(r"^\| ([A-Z]) \|", PAGE, re.MULTILINE))
    for heading in ("Names", "Files", "Configuration", "Metrics", "Scenarios"):
        for row in rows_of(heading):
            assert set(row[1].split(", ")) - {""} <= letters, row


def test_the_page_s_own_documents_are_linked() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)", PAGE)
    assert {"data-contract.md", "data-prepare.md", "packing.md", "evaluation.md"} <= {*linked}
    assert all((ROOT / "docs" / page).is_file() for page in linked)
    assert get_args(Config.model_fields["host"].annotation) == ("plain", "ms_swift")
