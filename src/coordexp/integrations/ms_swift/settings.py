"""Settings, translated: ms-swift's arguments into our configuration, and ours into ms-swift's."""

import json
import os
from pathlib import Path
from typing import Any

from coordexp.config.load import check_config
from coordexp.config.schema import Config
from coordexp.config.yaml_file import YamlMapping, load_extended_yaml
from coordexp.errors import ConfigError, InputError
from coordexp.integrations.ms_swift.refusals import FLASH, family_fault
from coordexp.training.run.build import lora_places
from coordexp.training.run.machine import attention_of

CONFIG_VARIABLE = "COORDEXP_CONFIG"

# Without a YAML file: the recipe of the presets' `soft`.
_WITHOUT_FILE: YamlMapping = {
    "coord_tokens": {"enabled": True},
    "coord_soft_ce_w1": {"enabled": True},
    "coord_offset": {"enabled": True},
}


def config_of_arguments(args: Any) -> Config:  # noqa: ANN401 - ms-swift's
    """Return the configuration of a plain `swift sft`.

    Its command line says what is trained on what, and how fast. What it has no words for comes from
    the YAML file that the environment variable COORDEXP_CONFIG names: `custom`, and
    `training.objective_backend`. Other keys of that file are an error, so that none is taken to
    hold and does not. Without the variable, coord tokens, their objective and the offsets are on,
    with the defaults of `docs/config.md`.

    Args:
        args: The arguments of `swift sft`.

    Raises:
        ConfigError: If the file has problems.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    custom, backend = (_WITHOUT_FILE, "auto") if named is None else _read(Path(named))
    alpha, (low, high) = float(args.lora_alpha), _pixels(args)
    raw: YamlMapping = {
        "host": "ms_swift",
        "model": {"path": str(args.model_dir), "dtype": str(args.torch_dtype).split(".")[-1]},
        "tuner": {
            "use_dora": args.use_dora,
            "lora_rank": args.lora_rank,
            # Its command line makes 32.0 of 32.
            "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
            "lora_dropout": args.lora_dropout,
            "target_modules": _target_modules(args.target_modules),
            "freeze_vit": args.freeze_vit,
            "freeze_aligner": args.freeze_aligner,
            "freeze_llm": args.freeze_llm,
        },
        "training": {
            "output_dir": str(args.output_dir),
            "learning_rate": args.learning_rate,
            "vit_lr": args.vit_lr,
            "aligner_lr": args.aligner_lr,
            "weight_decay": args.weight_decay,
            "seed": args.seed,
            "objective_backend": backend,
        },
        "data": {
            "mix": [{"path": path} for path in args.dataset],
            "min_pixels": low,
            "max_pixels": high,
        },
        "custom": custom,
    }
    return check_config(raw, name=f"swift sft with {CONFIG_VARIABLE}={named}" if named else "swift")


def arguments_of_config(
    config: Config, *, train: Path, held_out: Path | None, world_size: int
) -> dict[str, Any]:
    """Return ms-swift's arguments of a configuration; `docs/ms-swift.md` lists them.

    Args:
        config: Of the run.
        train: Messages to train on.
        held_out: Messages to evaluate on.
        world_size: Number of processes.
    """
    training, tuner = config.training, config.tuner
    same = training.model_dump(include=set(_SAME_NAMES))
    trackers = training.report_to
    return {
        **same,
        "model": str(config.model.path),
        "model_type": _stored(config).get("model_type"),
        "torch_dtype": _dtype(config),
        "attn_impl": attention_of(config),
        "check_model": False,
        "tuner_type": "lora",
        **tuner.model_dump(include={"use_dora", "lora_rank", "lora_alpha", "lora_dropout"}),
        "target_modules": (
            ["all-linear"] if isinstance(tuner.target_modules, str) else [*tuner.target_modules]
        ),
        **tuner.model_dump(include={"freeze_vit", "freeze_aligner", "freeze_llm"}),
        "adapters": [] if tuner.resume_adapter is None else [str(tuner.resume_adapter)],
        "dataset": [str(train)],
        "val_dataset": [] if held_out is None else [str(held_out)],
        "dataset_shuffle": False,
        "strict": True,
        "max_length": training.global_max_length,
        "packing": training.packing,
        "output_dir": str(training.output_dir),
        "add_version": False,
        "data_seed": training.seed if training.data_seed is None else training.data_seed,
        "gradient_accumulation_steps": training.accumulation_steps(world_size=world_size),
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "logging_first_step": False,
        "report_to": [trackers] if isinstance(trackers, str) else [*trackers],
        "deepspeed": None if config.deepspeed is None else str(config.deepspeed),
    }


def check_host(config: Config) -> None:
    """Check that ms-swift can do what a configuration asks for.

    Raises:
        InputError: With every key that it cannot follow.
    """
    training, custom = config.training, config.custom
    fault = family_fault(config.model.path)
    problems = {
        str(fault): fault is not None,
        "tuner.train_type: full needs host: plain": config.tuner.train_type == "full",
        "tuner.freeze_* of every part, to train the coord offsets alone, needs host: plain": (
            not lora_places(config)[0]
        ),
        "training.packing needs flash attention on ms-swift, without it the samples of a pack see "
        f"each other; model.attn_implementation comes to {attention_of(config)}": (
            training.packing and attention_of(config) not in FLASH
        ),
        "custom.object_ordering: random needs host: plain; ms-swift gets each answer written "
        "once": custom.object_ordering == "random",
        "training.detection_eval.steps needs host: plain": training.detection_eval.steps
        is not None,
        "custom.token_type_metrics.enabled needs host: plain": custom.token_type_metrics.enabled,
        "custom.instability_monitor.enabled needs host: plain": custom.instability_monitor.enabled,
        "data.mix: weights other than 1 need host: plain": any(
            part.weight != 1 for part in config.data.parts
        ),
    }
    found = [message for message, holds in problems.items() if holds]
    if found:
        lines = "".join(f"\n  {message}" for message in found)
        raise InputError(f"host: ms_swift: {len(found)} problem(s){lines}")


# Keys of `training` that ms-swift calls the same.
_SAME_NAMES = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "learning_rate",
    "vit_lr",
    "aligner_lr",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "lr_scheduler_type",
    "warmup_steps",
    "logging_steps",
    "eval_strategy",
    "eval_steps",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "seed",
    "bf16",
    "fp16",
    "gradient_checkpointing",
    "dataloader_num_workers",
    "use_cpu",
)


def _read(path: Path) -> tuple[YamlMapping, object]:
    raw = load_extended_yaml(path)
    training = raw.get("training", {})
    custom = raw.get("custom", {})
    if not isinstance(training, dict) or not isinstance(custom, dict):
        raise ConfigError(f"{path}: custom and training are mappings")
    others = sorted(raw.keys() - {"custom", "training"})
    others += sorted(f"training.{key}" for key in training.keys() - {"objective_backend"})
    if others:
        raise ConfigError(
            f"{path}: {', '.join(others)}: swift sft takes this from its command line; leave it "
            "out here, or run coordexp train --config with host: ms_swift"
        )
    return custom, training.get("objective_backend", "auto")


def _target_modules(given: Any) -> str | list[str]:  # noqa: ANN401 - ms-swift's
    if isinstance(given, str) or "all-linear" in given:
        return "all-linear"
    return list(given)


def _pixels(args: Any) -> tuple[int, int]:  # noqa: ANN401 - ms-swift's
    """Return the smallest and largest picture area that ms-swift hands to the model."""
    from qwen_vl_utils import vision_process  # noqa: PLC0415 - comes with ms-swift

    vision = json.loads((Path(args.model_dir) / "config.json").read_text())["vision_config"]
    cell = (vision["patch_size"] * vision["spatial_merge_size"]) ** 2
    low = vision_process.IMAGE_MIN_TOKEN_NUM * cell
    high = vision_process.IMAGE_MAX_TOKEN_NUM * cell
    return low, high if args.max_pixels is None else min(high, args.max_pixels)


def _stored(config: Config) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((config.model.path / "config.json").read_text())
    return stored


def _dtype(config: Config) -> str:
    if config.model.dtype != "auto":
        return config.model.dtype
    stored = _stored(config)
    named: str = stored.get("dtype") or stored.get("torch_dtype") or "float32"
    return named
