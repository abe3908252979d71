"""Configurations of runs that take a second, and what a run's first step does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp.config.schema import Config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.families.known import DEFAULT_FAMILY
from coordexp.model.vocab_expansion import expand_vocabulary
from tests.families.tiny_models import TINY_BASES
from tests.training.first_step import FirstStep, take_first_step

MakeConfig = Callable[..., Config]

BLOCKS: dict[str, dict[str, Any]] = {
    "model": {"dtype": "float32"},
    "tuner": {"lora_rank": 4, "lora_alpha": 8, "target_modules": ["q_proj", "qkv", "linear_fc1"]},
    "training": {
        "max_steps": 1,
        "per_device_train_batch_size": 3,
        "per_device_eval_batch_size": 3,
        "learning_rate": 1.0e-3,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "optimizer": "multimodal_coord_offset",
    },
    "data": {},
    "custom": {
        "coord_tokens": {"enabled": True},
        "coord_soft_ce_w1": {"enabled": True},
        "coord_offset": {"enabled": True, "embed_lr": 5.0e-3},
        "user_prompt": "Find every digit.",
    },
}


@pytest.fixture(scope="session")
def make_config(tiny_expanded: Path, scenes: Path) -> MakeConfig:
    """Make a configuration; keyword arguments are blocks laid over the ones above."""

    def make(output_dir: Path, **changes: dict[str, Any]) -> Config:
        blocks = {name: {**block, **changes.get(name, {})} for name, block in BLOCKS.items()}
        blocks["model"] = {"path": str(tiny_expanded), **blocks["model"]}
        blocks["data"] = {"train": str(scenes), **blocks["data"]}
        blocks["training"] = {"output_dir": str(output_dir), **blocks["training"]}
        return Config.model_validate_json(json.dumps(blocks))

    return make


@pytest.fixture(scope="session")
def other_families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base with coord tokens of every family but the first, by name."""
    out = tmp_path_factory.mktemp("others")
    bases = {name: out / name for name in TINY_BASES if name != DEFAULT_FAMILY}
    for name, path in bases.items():
        TINY_BASES[name](out / "plain" / name)
        expand_vocabulary(out / "plain" / name, path, alphabet=SPEC_ALPHABET, init="digits")
    return bases


@pytest.fixture(scope="session")
def first_step() -> Callable[[Config], FirstStep]:
    """Train one step and say what happened."""
    return take_first_step
