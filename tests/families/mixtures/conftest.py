"""A base with experts and coord tokens, and runs on it that take a second."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.model.vocab_expansion import expand_vocabulary
from tests.families.tiny_models import TINY_MIXTURES, with_patience

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="session", params=with_patience(TINY_MIXTURES))
def mixture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixture")
    TINY_MIXTURES[request.param](path / "base")
    expand_vocabulary(path / "base", path / "expanded", alphabet=SPEC_ALPHABET, init="digits")
    return path / "expanded"


@pytest.fixture(scope="session")
def make_config(mixture: Path, scenes: Path) -> MakeConfig:
    """Make a run's configuration, in which experts get LoRA; keyword arguments lie over it."""

    def make(output_dir: Path, **changes: dict[str, Any]) -> Config:
        blocks: dict[str, dict[str, Any]] = {
            "model": {"path": str(mixture), "dtype": "float32"},
            "tuner": {"train_experts": True, "lora_rank": 2, "lora_alpha": 4},
            "training": {
                "output_dir": str(output_dir),
                "max_steps": 1,
                "per_device_train_batch_size": 1,
                "gradient_accumulation_steps": 6,
                "learning_rate": 1.0e-2,
                "max_grad_norm": 0.0,
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": "none",
                "use_cpu": True,
            },
            "data": {"train": str(scenes)},
            "custom": {
                "coord_tokens": {"enabled": True},
                "coord_soft_ce_w1": {"enabled": True},
                "coord_offset": {"enabled": True, "tie_head": True, "embed_lr": 5.0e-3},
                "user_prompt": "Find every digit.",
            },
        }
        laid = {name: {**block, **changes.get(name, {})} for name, block in blocks.items()}
        return Config.model_validate_json(json.dumps(laid))

    return make
