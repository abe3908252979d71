"""Running a stage as the command that a user would type, with its time and memory."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from coordexp.errors import CoordExpError
from coordexp.quickstart.report import Stage

KIB_PER_MB = 1000_000 / 1024


class StageRunner:
    """Runs commands one after the other and keeps their figures.

    Each is a process of its own, so that its memory is its own and it can read nothing but files.

    Args:
        console: Where stages are announced.
    """

    def __init__(self, console: Console) -> None:
        self.stages: list[Stage] = []
        self._console = console

    def run(self, name: str, arguments: Sequence[str | Path]) -> None:
        """Run `coordexp ARGUMENTS`.

        Raises:
            CoordExpError: If it fails; what went wrong is on the screen already.
        """
        words = [str(argument) for argument in arguments]
        command = shlex.join(["coordexp", *words])
        self._console.print(f"[bold]{name}[/bold]  [dim]{command}[/dim]", highlight=False)
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "coordexp", *words])
        # wait4 gives the memory of this one process, getrusage the largest of all so far.
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code != 0:
            raise CoordExpError(f"the stage '{name}' failed with exit code {code}")
        self.stages.append(
            Stage(
                name=name,
                seconds=time.monotonic() - began,
                peak_mb=usage.ru_maxrss / KIB_PER_MB,
                command=command,
            )
        )
