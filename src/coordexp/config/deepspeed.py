"""DeepSpeed's JSON, which says how gradients and optimizer states are spread, and nothing else.

What the configuration says already (batch sizes, accumulation, clipping, precision, the optimizer
and its schedule) is filled in from there, so that the two cannot disagree. In the JSON these keys
are left out, or `auto`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from coordexp.config.schema import Config
from coordexp.errors import ConfigError

# A key of the JSON, and who says it instead.
_SAID_ELSEWHERE = {
    "train_batch_size": "training.effective_batch_size",
    "train_micro_batch_size_per_gpu": "training.per_device_train_batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps",
    "gradient_clipping": "training.max_grad_norm",
    "bf16": "training.bf16",
    "bfloat16": "training.bf16",
    "fp16": "training.fp16",
    "amp": "training.bf16",
    "torch_autocast": "training.bf16",
    "optimizer": "training.optimizer",
    "scheduler": "training.lr_scheduler_type",
}
_SHARDED_WEIGHTS = 3
_NOT_A_FILE = "expected DeepSpeed's JSON, such as configs/deepspeed/zero2.json"


def load_deepspeed(config: Config) -> dict[str, object] | None:
    """Return DeepSpeed's settings of a run without the keys that the configuration says, or None.

    Raises:
        ConfigError: If the file cannot be read, shards the weights (stage 3), says something that
            the configuration says too, or `training.fp16` is set.
    """
    path = config.deepspeed
    if path is None:
        return None
    raw = _load_mapping(path)
    problems = [*_stage_problems(raw), *_doubled(raw)]
    if config.training.fp16:
        problems.append("does not go with training.fp16 here; use training.bf16")
    if problems:
        raise ConfigError(f"deepspeed: {path}: " + "; ".join(problems))
    return {key: value for key, value in raw.items() if key not in _SAID_ELSEWHERE}


def _load_mapping(path: Path) -> dict[str, object]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"deepspeed: {path}: {reason}; {_NOT_A_FILE}") from None
    except ValueError as error:
        raise ConfigError(f"deepspeed: {path}: no JSON: {error}; {_NOT_A_FILE}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"deepspeed: {path}: {_NOT_A_FILE}")
    return raw


def _stage_problems(raw: Mapping[str, object]) -> list[str]:
    block = raw.get("zero_optimization")
    stage = block.get("stage", 0) if isinstance(block, dict) else 0
    if stage in (1, 2):
        return []
    if stage == _SHARDED_WEIGHTS:
        return [
            "ZeRO-3 is not supported: it takes apart the rows that the loss and the coord offsets "
            "are computed from; use stage 2 (configs/deepspeed/zero2.json), or FSDP2 for a base "
            "that does not fit on one GPU (configs/accelerate/fsdp2.yaml)"
        ]
    return [f"expected zero_optimization.stage 1 or 2, got {stage!r}"]


def _doubled(raw: Mapping[str, object]) -> list[str]:
    return [
        f"{key} is said by {ours}; leave it out"
        for key, ours in _SAID_ELSEWHERE.items()
        if key in raw and not _is_auto(raw[key])
    ]


def _is_auto(value: object) -> bool:
    return value == "auto" or (isinstance(value, dict) and value.get("enabled") == "auto")
