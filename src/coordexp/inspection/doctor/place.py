"""Where a run happens: the installed versions, and the disk."""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from coordexp.config.deepspeed import load_deepspeed
from coordexp.config.schema import Config
from coordexp.errors import CoordExpError, InputError, install_advice
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, judged
from coordexp.inspection.plan.costs import NUMBERS_KEPT
from coordexp.inspection.plan.table import gigabytes
from coordexp.training.keep.output import find_start
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.host import swift_fault
from coordexp.training.run.machine import (
    attention_fault,
    attention_of,
    flash_fault,
    has_gpu,
    precision_fault,
    quantization_fault,
)
from coordexp.training.watch.progress import check_trackers
from coordexp.viewing.elements import Sheet

_SHOWN = ("torch", "transformers", "peft", "accelerate", "safetensors", "pillow", "numpy")
# Checkpoints for which there should be room where all are kept.
_MANY = 10
# What transformers takes for a choice of trackers, and no tracker.
_NO_TRACKER = ("none", "all")


def versions(pieces: Pieces) -> CheckResult:
    """Compare what is installed with what this version of CoordExp needs."""
    config = pieces.take(Config)
    wrong = version_faults(metadata.requires("coordexp") or [], installed_version)
    shown = [(name, installed_version(name) or "missing") for name in ("coordexp", *_SHOWN)]
    title = f"Python {sys.version.split()[0]} on {device_name(config)}"
    slow_packs = config.training.packing and has_gpu(config) and attention_of(config) == "sdpa"
    no_host = swift_fault() if config.host == "ms_swift" else ""
    unasked, no_flash = attention_fault(config), flash_fault() if slow_packs else ""
    four_bits = quantization_fault(config)
    trackers, engine = tracker_fault(config), load_deepspeed(config)
    doubts = [
        Doubt(bool(wrong), "red", "; ".join(wrong), "install what is asked for with pip"),
        Doubt(
            bool(no_host),
            "red",
            f"host: {no_host}",
            "",
        ),
        Doubt(
            bool(unasked),
            "red",
            unasked,
            "leave model.attn_implementation out: auto is the default",
        ),
        Doubt(bool(four_bits), "red", four_bits, "leave model.quantization out, or install it"),
        Doubt(bool(trackers), "red", trackers, "training.report_to: none, or install it"),
        Doubt(
            engine is not None and installed_version("deepspeed") is None,
            "red",
            "deepspeed is set and not installed",
            install_advice("deepspeed"),
        ),
        Doubt(
            bool(no_flash),
            "yellow",
            f"{no_flash}: packs run on sdpa, masked blocks computed too",
            "install flash-attn for long packs; the figures are the same",
        ),
    ]
    found = ", ".join(f"{name} {version}" for name, version in shown[:4])
    return judged(found, doubts, [Sheet(title, ["package", "version"], shown)])


def version_faults(requirements: list[str], installed: Callable[[str], str | None]) -> list[str]:
    """Return what is missing or of another version than a package asks for, extras left out."""
    faults = []
    for line in requirements:
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        version = installed(needed.name)
        if version is None:
            faults.append(f"{needed.name} is not installed")
        elif not needed.specifier.contains(version, prereleases=True):
            faults.append(f"{needed.name} {version} is not {needed.specifier}")
    return faults


def installed_version(name: str) -> str | None:
    """Return a package's version, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def device_name(config: Config) -> str:
    """Return what a run will compute on, in words."""
    if has_gpu(config):
        return str(torch.cuda.get_device_name())
    threads = torch.get_num_threads()
    return f"the CPU ({threads} thread{'' if threads == 1 else 's'})"


def tracker_fault(config: Config) -> str:
    """Return which tracker is unknown or not installed, "" where none is."""
    named = config.training.report_to
    names = [named] if isinstance(named, str) else [*named]
    try:
        check_trackers([name for name in names if name not in _NO_TRACKER])
    except InputError as error:
        return joined(str(error))
    return ""


def device(pieces: Pieces) -> CheckResult:
    """Look whether the machine computes in the precision that is asked for."""
    config = pieces.take(Config)
    if fault := precision_fault(config):
        return CheckResult("red", fault, "all that follows was looked at on the CPU")
    training, dtype = config.training, config.model.dtype
    kept = "as stored" if dtype == "auto" else dtype
    computed = {training.bf16: "bfloat16", training.fp16: "float16"}.get(True)
    parts = [device_name(config), f"weights {kept}"]
    parts += [f"computed in {computed}"] if computed else []
    return CheckResult("green", f"{', '.join(parts)}; attention by {attention_of(config)}")


def save_and_resume(pieces: Pieces) -> CheckResult:
    """Look where the run will write, and whether one lies there that it will go on with."""
    config = pieces.take(Config)
    directory = config.training.output_dir
    start = find_start(config, world_size=1)
    nearest = nearest_directory(directory)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise CoordExpError(
            f"training.output_dir: nothing can be written below {nearest}: {error.strerror}"
        ) from None
    if start.finished:
        advice = "choose another training.output_dir for a new run, or raise max_steps"
        return CheckResult("yellow", start.words(directory), advice)
    return CheckResult("green", start.words(directory) or f"{directory}: writable, a new run")


def nearest_directory(path: Path) -> Path:
    """Return a directory, or the nearest one above it that is there."""
    absolute = path.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.is_dir())


def disk_room(pieces: Pieces) -> CheckResult:
    """Compare the room on the disk with what checkpoints will take."""
    config = pieces.take(Config)
    model = pieces.take(CoordTrainer).model
    if model is None:
        raise TypeError("a trainer has a model")
    one = NUMBERS_KEPT * sum(
        parameter.numel() * parameter.element_size()
        for parameter in model.parameters()
        if parameter.requires_grad
    )
    directory = nearest_directory(config.training.output_dir)
    return judged_room(one, config, free=shutil.disk_usage(directory).free)


def judged_room(checkpoint_bytes: int, config: Config, *, free: int) -> CheckResult:
    """Judge the free bytes; one checkpoint is written before an old one is deleted."""
    block = config.training
    kept = 1 if block.save_strategy == "no" else block.save_total_limit
    needed = checkpoint_bytes * (2 if kept is None else kept + 1)
    doubts = [
        Doubt(needed > free, "red", "", "make room, or lower training.save_total_limit"),
        Doubt(
            kept is None and free < _MANY * needed,
            "yellow",
            "every checkpoint is kept",
            "set training.save_total_limit",
        ),
    ]
    found = f"a checkpoint takes about {gigabytes(checkpoint_bytes)}, {gigabytes(free)} are free"
    return judged(found, doubts)


def joined(words: str) -> str:
    r"""Return a message on one line.

    Example:
        >>> joined("two\n  lines")
        'two lines'
    """
    return re.sub(r"\s+", " ", words)
