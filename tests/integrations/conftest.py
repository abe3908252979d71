"""The same run on both hosts, and what ms-swift makes of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from coordexp.config.schema import Config
from coordexp.rendering.encode import Encoder
from coordexp.training.run.build import build_encoder, build_style

MakeConfig = Callable[..., Config]

BLOCKS: dict[str, dict[str, Any]] = {
    "model": {"dtype": "float32"},
    "tuner": {"lora_rank": 4, "lora_alpha": 8, "target_modules": ["q_proj", "qkv", "linear_fc1"]},
    "training": {
        "max_steps": 10,
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1.0e-3,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 10,
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
        "system_prompt": "You point.",
    },
}


@pytest.fixture(scope="session")
def untied(tiny_expanded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with a head of its own."""
    path = tmp_path_factory.mktemp("models") / "untied"
    shutil.copytree(tiny_expanded, path)
    weights = load_file(path / "model.safetensors")
    weights["lm_head.weight"] = 1.5 * weights["model.language_model.embed_tokens.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((path / "config.json").read_text())
    settings["tie_word_embeddings"] = settings["text_config"]["tie_word_embeddings"] = False
    (path / "config.json").write_text(json.dumps(settings))
    return path


@pytest.fixture(scope="session")
def make_config(tiny_expanded: Path, scenes: Path) -> MakeConfig:
    """Make a configuration; keyword arguments are blocks laid over the ones above."""

    def make(output_dir: Path, host: str = "ms_swift", **changes: dict[str, Any]) -> Config:
        blocks = {name: {**block, **changes.get(name, {})} for name, block in BLOCKS.items()}
        blocks["model"] = {"path": str(tiny_expanded), **blocks["model"]}
        blocks["data"] = {"train": str(scenes), "eval": str(scenes), **blocks["data"]}
        blocks["training"] = {"output_dir": str(output_dir), **blocks["training"]}
        return Config.model_validate_json(json.dumps({"host": host, **blocks}))

    return make


@pytest.fixture(scope="session")
def encoder(make_config: MakeConfig) -> Encoder:
    config = make_config(Path("unused"))
    return build_encoder(config.model.path, build_style(config))


@pytest.fixture(scope="session")
def swift() -> None:
    """ms-swift, offline and without torchvision."""
    pytest.importorskip("swift", reason="make check-swift has it")
    from tests.integrations.no_torchvision import do_without_torchvision

    do_without_torchvision()
