"""The house keeps its own promises: maps that are whole, one name for one idea."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "coordexp"
PACKAGES = sorted(path.parent for path in SRC.rglob("__init__.py"))


def classes() -> Iterator[tuple[str, str]]:
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node.name, str(path.relative_to(SRC))


@pytest.mark.parametrize("package", PACKAGES[1:], ids=lambda path: str(path.relative_to(SRC)))
def test_the_docstring_of_a_package_names_all_that_is_in_it(package: Path) -> None:
    told = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]*`", told))))
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert not (modules | folders) - named


def test_no_two_classes_have_one_name() -> None:
    homes = defaultdict(list)
    for name, home in classes():
        homes[name].append(home)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_run_and_source_are_no_names_of_modules() -> None:
    """Both say nothing of what is run or read."""
    assert [str(path) for path in SRC.rglob("*.py") if path.stem in ("run", "source")] == []
