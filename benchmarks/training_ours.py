"""Our side of `training.py`: the real command, the real trainer, and timers around its parts."""

import importlib
import inspect
import statistics
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import torch
import yaml
from torch import Tensor
from training_clock import PROMPT, Attribution, Baton, FirstStep, StepClock
from transformers import Trainer, TrainerCallback

Batch = dict[str, Tensor]
Report = Callable[[dict[str, Any]], None]

# Modules that do nothing but diagnostics; all their functions count as such.
DIAGNOSTICS = ("diagnostics", "group_figures", "judge", "monitor", "progress", "speed")


def write(case: Any, scratch: Path, report: Report) -> None:  # noqa: ANN401
    """Write models and records."""
    from training_inputs import write_inputs  # noqa: PLC0415

    write_inputs(scratch, case.model)
    report({})


def run_config(
    case: Any,  # noqa: ANN401 - of training.py
    scratch: Path,
    *,
    steps: int,
    changes: Mapping[str, object] | None = None,
) -> Path:
    """Write the YAML of a fresh run, stage 1 with DoRA and offsets, and return its path.

    Args:
        case: Says which.
        scratch: Has models and records.
        steps: Of the run.
        changes: Of its block `training`.
    """
    runs = scratch / "runs"
    runs.mkdir(exist_ok=True)
    path = runs / f"{len(list(runs.glob('*.yaml')))}.yaml"
    training = {
        "output_dir": str(path.with_suffix("")),
        "max_steps": steps,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": case.dtype == "bfloat16",
        "optimizer": "multimodal_coord_offset",
        "logging_steps": 10 if case.model == "tiny" else 1,
        "global_max_length": case.pack,
        "packing": case.pack is not None,
        "gradient_checkpointing": case.kind == "memory",  # as configs/hardware/ have it
        "per_device_train_batch_size": 8 if case.pack is None else 1,
        **(changes or {}),
    }
    config = {
        "model": {"path": str(scratch / case.model), "dtype": case.dtype},
        "tuner": {
            "train_type": "lora",
            "use_dora": True,
            "lora_rank": 16,
            "lora_alpha": 32,
            "target_modules": "all-linear",
        },
        "training": training,
        "data": {"train": str(scratch / f"{case.model}-data" / "train.jsonl")},
        "custom": {
            "user_prompt": PROMPT,
            "coord_tokens": {"enabled": True},
            "coord_soft_ce_w1": {"enabled": True},
            "coord_offset": {"enabled": True},
        },
    }
    path.write_text(yaml.safe_dump(config))
    return path


def run_ours(case: Any, scratch: Path, report: Report) -> None:  # noqa: ANN401
    """Run `coordexp train` in this process and report when the last step is done."""
    path = run_config(case, scratch, steps=case.steps)
    from coordexp.cli.app import main  # noqa: PLC0415
    from coordexp.training.run import stage1 as run  # noqa: PLC0415

    build = run.build_trainer

    def with_a_clock(config: Any, *, callbacks: Sequence[TrainerCallback]) -> Any:  # noqa: ANN401
        return build(config, callbacks=[*callbacks, FirstStep(case.steps, report)])

    run.build_trainer = with_a_clock
    sys.argv = ["coordexp", "train", "--config", str(path)]
    main()


def save_batches(case: Any, scratch: Path, report: Report) -> None:  # noqa: ANN401
    """Write the batches of our first steps to a file."""
    torch.save(first_batches(build_ours(case, scratch, [])[0], case.steps), scratch / "batches.pt")
    report({})


def build_ours(
    case: Any,  # noqa: ANN401
    scratch: Path,
    callbacks: Iterable[TrainerCallback],
) -> tuple[Any, Callable[[], None]]:
    """Return our trainer as `coordexp train` builds it, and what stops its bar."""
    from coordexp.config.load import load_config  # noqa: PLC0415
    from coordexp.training.run.stage1 import build_trainer  # noqa: PLC0415
    from coordexp.training.watch.progress import JsonlLog, ProgressBar  # noqa: PLC0415

    config = load_config(run_config(case, scratch, steps=case.steps + 1))
    bar = ProgressBar()
    log = JsonlLog(config.training.output_dir)
    return build_trainer(config, callbacks=[log, bar, *callbacks]), bar.stop


def first_batches(trainer: Any, count: int) -> list[Batch]:  # noqa: ANN401
    """Return the batches of the first steps, as a model takes them."""
    loader = iter(trainer.get_train_dataloader())
    batches = [next(loader) for _ in range(count)]
    return [{k: v for k, v in batch.items() if k != "record_indices"} for batch in batches]


def take_turns(case: Any, scratch: Path, report: Report) -> None:  # noqa: ANN401
    """Let both loops take turns and report the ratio of their steps, and where ours spends time."""
    from training_bare import bare_trainer  # noqa: PLC0415

    baton, spent = Baton(["ours", "bare"]), Attribution()
    clocks = {name: StepClock(name, baton, spent) for name in ("ours", "bare")}
    ours, stop_bar = build_ours(case, scratch, [clocks["ours"]])
    batches = first_batches(ours, case.steps + 1)
    bare = bare_trainer(
        scratch / case.model,
        ours.processing_class,
        lambda: batches,
        scratch / "bare",
        dtype=case.dtype,
        steps=case.steps + 1,
        checkpointing=False,
        callbacks=[clocks["bare"]],
    )
    instrument(ours, spent)
    threads = [
        threading.Thread(target=run_to_the_end, args=(loop, name, baton))
        for name, loop in (("ours", ours), ("bare", bare))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop_bar()
    report(step_figures(clocks["ours"], clocks["bare"], batches))


def run_to_the_end(trainer: Trainer, name: str, baton: Baton) -> None:
    """Train, and take no more turns then."""
    try:
        trainer.train()
    finally:
        baton.leave(name)


def step_figures(ours: StepClock, bare: StepClock, batches: list[Batch]) -> dict[str, Any]:
    """Return medians over the steps after the first, and shares of all of them together."""
    total = sum(ours.steps[1:])
    spent = {
        what: (seconds - ours.spent[0].get(what, 0.0)) / total
        for what, seconds in ours.spent[-1].items()
    }
    # Of the tracker's writer and of whatever else runs beside the loops.
    process = bare.process[-1] - bare.process[0]
    threads = process - total - sum(bare.steps[1:])
    labels = [batch["labels"] for batch in batches]
    return {
        "ours": {"step": statistics.median(ours.steps[1:])},
        "bare": {"step": statistics.median(bare.steps[1:])},
        "ratio": {
            "step": statistics.median(map(float.__truediv__, ours.steps[1:], bare.steps[1:]))
        },
        "share of our step": {**spent, "other threads": threads / total},
        "tokens": statistics.mean(label.numel() for label in labels),
        "supervised": statistics.mean(float((label >= 0).float().mean()) for label in labels),
    }


def instrument(trainer: Any, spent: Attribution) -> None:  # noqa: ANN401
    """Put timers around what does nothing but data, and nothing but diagnostics."""
    spent.wrap(trainer, "get_batch_samples", "data")
    spent.wrap(trainer, "log", "diagnostics")
    spent.wrap(trainer, "_maybe_log_save_evaluate", "diagnostics")
    spent.wrap(trainer.callback_handler, "call_event", "diagnostics")
    for name in DIAGNOSTICS:
        wrap_module(importlib.import_module(f"coordexp.training.watch.{name}"), spent)


def wrap_module(module: ModuleType, spent: Attribution) -> None:
    """Count every method of a module's classes, and its functions wherever they are imported."""
    own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__}
    for name, found in own.items():
        if isinstance(found, FunctionType):
            for user in list(sys.modules.values()):
                if user.__name__.startswith("coordexp.training") and vars(user).get(name) is found:
                    spent.wrap(user, name, "diagnostics")
        elif inspect.isclass(found) and not issubclass(found, Trainer):
            wrap_methods(found, spent)


def wrap_methods(owner: type, spent: Attribution) -> None:
    """Count every method of a class but the special ones."""
    for name, found in list(vars(owner).items()):
        if isinstance(found, FunctionType) and not name.startswith("__"):
            spent.wrap(owner, name, "diagnostics")


TASKS = {"inputs": write, "ours": run_ours, "batches": save_batches, "step": take_turns}
