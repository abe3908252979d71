from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.training.build import build_objective
from tests.training.conftest import MakeConfig


def test_the_triton_backend_without_a_gpu_is_refused(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", training={"objective_backend": "triton"})
    with pytest.raises(InputError, match="triton needs a CUDA device; use auto"):
        build_objective(config, None)
