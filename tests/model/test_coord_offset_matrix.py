import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.model.offset_matrix import check
from tests.model.test_coord_offset import SETUPS, Setup

every_way = pytest.mark.parametrize(
    ("setup", "way"),
    [
        pytest.param(
            setup,
            way,
            id=f"{setup}-{way}",
            marks=[] if way == "plain" and setup.lora != "dora" else [pytest.mark.slow],
        )
        for setup, way in product(SETUPS, ["plain", "checkpointing"])
    ],
)


@every_way
def test_only_offsets_and_lora_learn_and_only_listed_ids_shift(setup: Setup, way: str) -> None:
    check(setup, way)


@pytest.mark.slow
def test_the_same_holds_compiled(tmp_path: Path) -> None:
    # A cache of its own: inductor takes over what was compiled for other instructions.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.model.offset_matrix"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
