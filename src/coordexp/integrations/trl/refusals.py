"""What of TRL does not go together with our answers and pictures."""

from importlib import metadata
from typing import Any

from packaging.version import Version

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.families.known import load_family
from coordexp.families.towers import expert_names

# Below, log-probabilities are computed elsewhere; above, nobody has looked yet.
SUPPORTED = (Version("1.16"), Version("1.17"))


def check_trl() -> None:
    """Check that a supported TRL is installed.

    Raises:
        InputError: If there is none, or of another version.
    """
    try:
        installed = metadata.version("trl")
    except metadata.PackageNotFoundError:
        raise InputError("TRL is not installed: pip install 'coordexp[trl]'") from None
    least, below = SUPPORTED
    if not least <= Version(installed) < below:
        raise InputError(f"expected TRL {least} or later, below {below}; installed is {installed}")


def check_arguments(config: Config, args: Any) -> None:  # noqa: ANN401 - TRL may be absent
    """Refuse what would be ignored, or would go past our decoder.

    Args:
        config: Of the run.
        args: TRL's `GRPOConfig`.

    Raises:
        InputError: With everything that is wrong.
        CheckpointError: If the base is of no family that is known.
    """
    problems = {
        "custom.coord_tokens.enabled: expected true; the decoder answers in coord tokens": (
            not config.custom.coord_tokens.enabled
        ),
        "data.mix: TRL draws records by itself; give one file as data.train": (
            len(config.data.parts) != 1
        ),
        "custom.class_list: TRL is given each question once; use custom.classes": (
            config.custom.class_list is not None
        ),
        "data.augment: TRL is given pictures as they are; leave it out": (
            config.data.augment.to_augmentation() is not None
        ),
        "model.quantization: a base in four bits is not tried with TRL": (
            config.model.quantization is not None
        ),
        "model.path: experts are not tried with TRL, whose auxiliary loss is left out here": (
            bool(expert_names(load_family(config.model.path).towers))
        ),
        "tuner.train_type: full is not tried with TRL; use lora": config.tuner.train_type == "full",
        "beta: a reference model is not tried with the offsets; leave it at 0": args.beta != 0,
        "use_vllm: answers are made by our own decoder": args.use_vllm,
        "top_p, top_k, min_p: the decoder draws from all that the grammar allows": (
            args.top_p < 1 or bool(args.top_k) or bool(args.min_p)
        ),
        "repetition_penalty: distorts coordinates; leave it at 1": args.repetition_penalty != 1,
        "use_liger_kernel: reads the head without its coord offsets": args.use_liger_kernel,
        "deepspeed and fsdp: the decoder needs the whole model in one place": (
            bool(args.deepspeed) or bool(args.fsdp)
        ),
    }
    found = [message for message, holds in problems.items() if holds]
    if found:
        lines = "".join(f"\n  {message}" for message in found)
        raise InputError(f"TRL: {len(found)} problem(s){lines}")
