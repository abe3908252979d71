"""The configuration that is planned for."""

import json
from pathlib import Path

from coordexp.config.load import load_config
from coordexp.config.schema import Config

# Stage 1 as configs/stage1.yaml has it, on GPUs: what an installed package has no file of.
_STAGE_1 = {
    "tuner": {"train_type": "lora", "use_dora": True, "lora_rank": 16, "lora_alpha": 32},
    "data": {"train": "train.jsonl"},
    "training": {
        "output_dir": "runs/stage1",
        "bf16": True,
        "gradient_checkpointing": True,
        "packing": True,
        "global_max_length": 8192,
        "per_device_train_batch_size": 1,
        "save_total_limit": 2,
    },
    "custom": {
        "coord_tokens": {"enabled": True},
        "coord_soft_ce_w1": {"enabled": True},
        "coord_offset": {"enabled": True, "tie_head": True, "embed_lr": 1e-4},
    },
}


def plan_config(model: Path, path: Path | None) -> Config:
    """Return a run's configuration with another base, or that of stage 1.

    Args:
        model: Folder of the base.
        path: YAML file of the run; None for stage 1.

    Raises:
        ConfigError: If the file is wrong.
    """
    if path is None:
        block = {"path": str(model), "dtype": "bfloat16"}
        return Config.model_validate_json(json.dumps({"model": block, **_STAGE_1}))
    config = load_config(path)
    return config.model_copy(update={"model": config.model.model_copy(update={"path": model})})
