"""Everything that could be wrong with a run, looked at before it costs anything.

Each check is one small function, in the modules `doctor_*`, that says what it found and leaves
what it has built for the checks after it: tokenizer, records, feed, trainer. What a check needs and
nobody could build is no finding of its own; it says whose fault that is.

The run's own code builds everything, so that what passes here starts there. Nothing is written into
the run's output directory.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from coordexp.config.schema import Config
from coordexp.data.files.mix import Mix
from coordexp.errors import CoordExpError
from coordexp.inspection.doctor.boxes import boxes_there_and_back, pictures
from coordexp.inspection.doctor.course import course
from coordexp.inspection.doctor.first_pass import FirstPass
from coordexp.inspection.doctor.learning import (
    Scratch,
    gradient,
    loss,
    parameters,
)
from coordexp.inspection.doctor.memory import memory
from coordexp.inspection.doctor.place import (
    device,
    disk_room,
    joined,
    save_and_resume,
    versions,
)
from coordexp.inspection.doctor.prompt import prompt
from coordexp.inspection.doctor.records import (
    Feeds,
    Held,
    batches,
    lengths,
    normalised_twice,
    records,
)
from coordexp.inspection.doctor.step import one_step
from coordexp.inspection.doctor.tokens import Looks, labels, template
from coordexp.inspection.doctor.verdict import Check, CheckResult, Diagnosis, Pieces, UnbuiltError
from coordexp.inspection.doctor.vocabulary import (
    CheckedBase,
    KnownVocab,
    base,
    tokenizer_ids,
    tying,
    vocabulary_rows,
)
from coordexp.rendering.encode import Encoder
from coordexp.training.loop.trainer import CoordTrainer
from coordexp.training.run.machine import attention_fault, precision_fault
from coordexp.training.run.setup_errors import MEMORY_ADVICE

CHECKS = (
    Check("versions", versions),
    Check("device", device),
    Check("save and resume", save_and_resume),
    Check("base", base, (CheckedBase,)),
    Check("tokenizer ids", tokenizer_ids, (KnownVocab,)),
    Check("vocabulary rows", vocabulary_rows),
    Check("tying", tying),
    Check("template", template, (Encoder,)),
    Check("records", records, (Mix, Held)),
    Check("normalised twice", normalised_twice),
    Check("prompt", prompt),
    Check("lengths", lengths, (Feeds,)),
    Check("batches", batches),
    Check("steps", course),
    Check("labels", labels, (Looks,)),
    Check("box, token, box", boxes_there_and_back),
    Check("pictures", pictures),
    Check("who learns", parameters, (CoordTrainer,)),
    Check("loss", loss, (FirstPass,)),
    Check("gradient", gradient),
    Check("one step", one_step),
    Check("memory", memory),
    Check("disk", disk_room),
)


def examine(config: Config, *, say: Callable[[str], None] = lambda _: None) -> Diagnosis:
    """Return what every check finds.

    Args:
        config: Of the run.
        say: Takes the name of each check as it begins.
    """
    with tempfile.TemporaryDirectory(prefix="coordexp-doctor-") as scratch:
        diagnosis = Diagnosis(pieces=Pieces(config, scratch_of(config, Path(scratch))))
        for check in CHECKS:
            say(check.name)
            diagnosis.findings[check.name] = found_by(check, diagnosis.pieces)
    return diagnosis


def found_by(check: Check, pieces: Pieces) -> CheckResult:
    """Return what a check finds; an error in the user's words is a finding too."""
    try:
        return check.look(pieces)
    except UnbuiltError as error:
        makers = [other.name for other in CHECKS if error.kind in other.makes]
        return CheckResult("yellow", f"not looked at, because of: {makers[0]}")
    except CoordExpError as error:
        return CheckResult("red", joined(str(error)))
    except torch.OutOfMemoryError:
        return CheckResult("red", "the device ran out of memory", MEMORY_ADVICE)


def scratch_of(config: Config, folder: Path) -> Scratch:
    """Return the configuration of a run that writes elsewhere, in this process alone."""
    changes: dict[str, object] = {"output_dir": folder, "report_to": "none"}
    if precision_fault(config):  # has a finding of its own; the rest is looked at nevertheless
        changes |= {"use_cpu": True, "bf16": True, "fp16": False}
    training = config.training.model_copy(update=changes)
    model = config.model
    if attention_fault(config):
        model = model.model_copy(update={"attn_implementation": "auto"})
    return Scratch(
        config.model_copy(update={"training": training, "model": model, "deepspeed": None})
    )
