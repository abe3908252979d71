import ast
from pathlib import Path

import pytest

import coordexp
from coordexp import processes
from coordexp.errors import InputError
from coordexp.processes import is_first_rank, is_launched, world_size

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
SOURCES = Path(coordexp.__file__).parent


@pytest.fixture(autouse=True)
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_process_that_nobody_launched_is_alone_and_speaks() -> None:
    assert (is_launched(), is_first_rank(), world_size()) == (False, True, 1)


def test_a_launched_process_is_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert (is_launched(), is_first_rank(), world_size()) == (True, False, 4)


@pytest.mark.parametrize("value", ["", "two", "1.0"])
@pytest.mark.parametrize(("name", "ask"), [("RANK", is_first_rank), ("WORLD_SIZE", world_size)])
def test_what_is_no_number_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, ask: object, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=rf"{name}='{value}' in the environment: .*torchrun"):
        ask()  # type: ignore[operator]


def test_a_run_of_no_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "0")
    with pytest.raises(InputError, match="at least one process"):
        world_size()


def test_nobody_else_reads_the_ranks_from_the_environment() -> None:
    readers = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in NAMES
    }
    assert readers == {Path(processes.__file__).name}
