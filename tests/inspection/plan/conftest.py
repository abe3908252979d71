"""The tiny base with nothing but its `config.json`, and what a run on it takes."""

from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from coordexp.config.schema import Config
from tests.inspection.conftest import MakeRun

MakeBare = Callable[..., Config]


@pytest.fixture(scope="session")
def described(tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `config.json` alone."""
    folder = tmp_path_factory.mktemp("described")
    copy(tiny_expanded / "config.json", folder)
    return folder


@pytest.fixture(scope="session")
def make_bare(make_run: MakeRun, described: Path) -> MakeBare:
    """Make a run's configuration on a base without weights."""

    def make(**changes: dict[str, Any]) -> Config:
        model = {"path": str(described), **changes.pop("model", {})}
        return make_run(model=model, **changes)

    return make
