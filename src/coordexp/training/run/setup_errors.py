"""What transformers, accelerate and the trackers raise on a bad setup, in the user's words.

What can be foreseen is checked before (`training.run.machine`, `.engines`, the schema). This
is for the rest: their message is kept, and the keys of the configuration that it speaks of are
named, so that nobody has to read a traceback to learn which line of the YAML to change.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import torch

from coordexp.config.training import Training
from coordexp.errors import CoordExpError, InputError

MEMORY_ADVICE = (
    "training.gradient_checkpointing: true, or a smaller per_device_train_batch_size, "
    "global_max_length or data.max_pixels"
)
# Where transformers talks to trackers; frames of these modules are theirs.
_TRACKERS = "transformers.integrations.integration_utils"
_NO_MEMORY = ("can't allocate memory", "not enough memory")


@contextmanager
def setup_errors(what: str) -> Iterator[None]:
    """Turn what the libraries raise while a run is set up into an error that names the keys.

    Args:
        what: Was being set up.

    Raises:
        InputError: For everything but our own errors and a device without memory.
    """
    try:
        yield
    except (CoordExpError, torch.OutOfMemoryError):
        raise
    except (ValueError, ImportError, RuntimeError, NotImplementedError, OSError) as error:
        raise InputError(told_with_keys(what, error)) from None


@contextmanager
def run_errors() -> Iterator[None]:
    """Turn what is the machine's or a tracker's fault, and not ours, into an error with advice.

    Raises:
        CoordExpError: For a device that runs out of memory, and for a tracker that fails.
    """
    try:
        yield
    except CoordExpError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise CoordExpError(_without_memory(error)) from None
    except Exception as error:
        if any(words in str(error) for words in _NO_MEMORY):
            raise CoordExpError(_without_memory(error)) from None
        if _passed_through(error.__traceback__, _TRACKERS):
            raise CoordExpError(
                f"training.report_to: a tracker failed: {_first_line(error)}; set it up, or set "
                "training.report_to: none, and give the same command again"
            ) from None
        raise


def told_with_keys(what: str, error: Exception) -> str:
    """Return a library's message with the keys of `training` that it speaks of in front."""
    words = set(re.findall(r"[a-z_0-9]+", str(error)))
    keys = [f"training.{key}" for key in Training.model_fields if key in words]
    place = ", ".join(keys) or "training"
    return f"{place}: {what} cannot be set up: {_first_line(error)}"


def _without_memory(error: BaseException) -> str:
    reason = _first_line(error)
    return f"the device ran out of memory ({reason}); {MEMORY_ADVICE}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def _passed_through(trace: TracebackType | None, module: str) -> bool:
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == module:
            return True
        trace = trace.tb_next
    return False
