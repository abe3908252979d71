"""The errors that CoordExp raises on purpose, in words for the user.

Every one of them is caught in `coordexp.cli`, printed without a traceback and turned into exit
code 2 (bad input) or 1 (a run that failed). Anything else that escapes is a bug of ours and keeps
its traceback.
"""

from pathlib import Path

from typing_extensions import override


class CoordExpError(Exception):
    """A failure that the user can understand and act on; exit code 1."""

    exit_code = 1


class InputError(CoordExpError):
    """Something the user gave us is wrong; exit code 2, nothing was written."""

    exit_code = 2


class RecordError(InputError):
    """A record breaks the data contract.

    Args:
        message: What was expected, what came, and what to do.
        file: The JSONL file, where it is known.
        line: 1-based line in it.
        obj: 0-based index into `objects`, where one object is to blame.
    """

    def __init__(
        self,
        message: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        obj: int | None = None,
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.obj = obj
        super().__init__(message)

    def at(self, file: Path, line: int) -> "RecordError":
        """Return the same error, placed at a line of a file."""
        return RecordError(self.message, file=file, line=line, obj=self.obj)

    @override
    def __str__(self) -> str:
        place = ""
        if self.file is not None:
            place = f"{self.file}:{self.line}: " if self.line is not None else f"{self.file}: "
        if self.obj is not None:
            place += f"objects[{self.obj}]: "
        return place + self.message


def install_advice(extra: str) -> str:
    """Return how to install what one of our extras names; no index has CoordExp itself.

    Example:
        >>> install_advice("vllm")
        "python -m pip install '.[vllm]' in the folder of CoordExp's pyproject.toml"
    """
    # DeepSpeed comes as source; this leaves its kernels out, so that no compiler is needed.
    before = "DS_BUILD_OPS=0 " if extra == "deepspeed" else ""
    return f"{before}python -m pip install '.[{extra}]' in the folder of CoordExp's pyproject.toml"


class ConfigError(InputError):
    """A configuration has problems, all of them listed."""


class CheckpointError(InputError):
    """A checkpoint or model directory is not what the step needs."""
