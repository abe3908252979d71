"""What of ms-swift does not go together with the coord objective."""

from pathlib import Path
from typing import Any

from coordexp.errors import InputError
from coordexp.families.known import load_family
from coordexp.training.run.host import version_fault

LOSS = "coord_soft_ce_w1"
OPTIMIZER = "multimodal_coord_offset"
FLASH = frozenset(("flash_attn", "flash_attention_2", "flash_attention_3", "flash_attention_4"))


def check_ms_swift() -> None:
    """Check that a supported ms-swift is installed.

    Raises:
        InputError: If there is none, or of another version.
    """
    if fault := version_fault():
        raise InputError(fault)


def family_fault(base: Path) -> str | None:
    """Return why ms-swift cannot train a base's family for us, None where it can.

    Raises:
        CheckpointError: If the base is of no family that is known.
    """
    family = load_family(base)
    if not family.recurrent:
        return None
    return (
        f"models of {family.name} need host: plain: their {', '.join(family.recurrent)} layers "
        "carry a state on from sample to sample of a pack, and ms-swift loads its models without "
        "what keeps them apart here"
    )


def check_arguments(args: Any, template: Any) -> None:  # noqa: ANN401 - ms-swift's
    """Refuse what would bypass or change the loss.

    Args:
        args: The arguments of `swift sft`.
        template: The run's.

    Raises:
        InputError: With everything that is wrong.
    """
    found = [
        message
        for problems in (_task(args), _loss(args, template), _data(args), _engine(args))
        for message, holds in problems.items()
        if holds
    ]
    if found:
        lines = "".join(f"\n  {message}" for message in found)
        raise InputError(f"ms-swift: {len(found)} problem(s){lines}")


def _task(args: Any) -> dict[str, bool]:  # noqa: ANN401
    task = getattr(args, "rlhf_type", None) or args.task_type
    return {
        f"the plugin trains swift sft, got the task {task}": task != "causal_lm",
        f"--tuner_type {args.tuner_type}: expected lora (with --use_dora true for DoRA); whole "
        "models are trained by coordexp train with host: plain": args.tuner_type != "lora",
        f"--tuner_backend {args.tuner_backend}: expected peft": args.tuner_backend != "peft",
        "--use_swift_lora: expected PEFT's LoRA": bool(args.use_swift_lora),
        "--use_chat_template false: coord answers need the chat template": (
            not args.use_chat_template
        ),
    }


def _loss(args: Any, template: Any) -> dict[str, bool]:  # noqa: ANN401
    binary = template.is_binary_loss_scale
    if binary is None:
        binary = template.loss_scale.is_binary_loss_scale
    return {
        "--use_liger_kernel: its fused loss reads lm_head.weight, and so bypasses the coord "
        "offsets and the coord terms; leave it out, our own fused loss builds no logits "
        "either": bool(args.use_liger_kernel),
        f"--loss_type {args.loss_type}: leave it out or name {LOSS}": (
            args.loss_type not in (None, LOSS)
        ),
        f"--optimizer {args.optimizer}: leave it out or name {OPTIMIZER}": (
            args.optimizer not in (None, "default", "multimodal", OPTIMIZER)
        ),
        f"--loss_scale {args.loss_scale}: weighs tokens; expected 0 or 1 alone": not binary,
        "--enable_dft_loss changes the loss": bool(args.enable_dft_loss),
        "--enable_channel_loss needs logits, which are never there": bool(args.enable_channel_loss),
        "--predict_with_generate: evaluate with coordexp predict": bool(args.predict_with_generate),
        f"--eval_metric {args.eval_metric} needs logits, which are never there": (
            args.eval_metric is not None
        ),
    }


def _data(args: Any) -> dict[str, bool]:  # noqa: ANN401
    flat = args.packing or args.padding_free
    return {
        f"--packing or --padding_free with --attn_impl {args.attn_impl}: without flash attention "
        "the samples of a pack see each other": flat and args.attn_impl not in FLASH,
        "--streaming: the order of the records is planned, which needs their number": bool(
            args.streaming
        ),
        "--group_by_length: the order of the records is planned": bool(args.group_by_length),
    }


def _engine(args: Any) -> dict[str, bool]:  # noqa: ANN401
    stage = (args.deepspeed or {}).get("zero_optimization", {}).get("stage")
    return {
        f"--sequence_parallel_size {args.sequence_parallel_size}: expected 1": (
            args.sequence_parallel_size > 1
        ),
        "--deepspeed zero3 is not supported; use zero2": stage == 3,  # noqa: PLR2004
        "--fsdp is not supported here; coordexp train with host: plain runs under FSDP2": bool(
            args.fsdp
        ),
    }
