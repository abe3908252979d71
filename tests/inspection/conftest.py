"""One healthy run, looked at once; its pieces are planted with faults one at a time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp.config.schema import Config
from coordexp.inspection.doctor.doctor import examine
from coordexp.inspection.doctor.verdict import Diagnosis
from tests.training.conftest import BLOCKS

MakeRun = Callable[..., Config]


@pytest.fixture(scope="session")
def make_run(
    tiny_expanded: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeRun:
    """Make a run's configuration; keyword arguments are blocks laid over the tests' usual ones."""
    output_dir = tmp_path_factory.mktemp("doctor") / "run"

    def make(**changes: dict[str, Any]) -> Config:
        blocks = {name: {**block, **changes.get(name, {})} for name, block in BLOCKS.items()}
        blocks["model"] = {"path": str(tiny_expanded), **blocks["model"]}
        blocks["data"] = {"train": str(scenes), **blocks["data"]}
        # As many steps as a run should have; the doctor takes one of them.
        long = {"max_steps": 500, **changes.get("training", {})}
        blocks["training"] = {"output_dir": str(output_dir), **blocks["training"], **long}
        return Config.model_validate_json(json.dumps(blocks))

    return make


@pytest.fixture(scope="session")
def healthy(make_run: MakeRun) -> Diagnosis:
    """What the doctor finds in a healthy run; tests that change a piece change it back."""
    return examine(make_run())
