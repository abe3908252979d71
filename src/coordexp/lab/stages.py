"""Stages of a run as the commands that a user would type, with what they cost.

`stages.json` in a run's folder keeps, for each stage, the CPU seconds of all attempts and the most
memory. A stage is noted when it starts and again when it ends: where the lab itself was killed in
between, the seconds of that attempt are unknown, and `unknown` says so.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import struct_rusage
from typing import IO

from coordexp.errors import CoordExpError
from coordexp.files import write_text

NAME = "stages.json"
LOG = "log.txt"

_MB = 1024.0
_LAST_LINES = 12

# How a process ends that was told to stop: by the signal itself, or by the exit code for it.
_STOPPED = frozenset({-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM})


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage has cost so far.

    Args:
        cpu_seconds: User and system time of the processes, all attempts together.
        wall_seconds: The same by the clock, which is what a GPU is paid by.
        peak_mb: The most memory of one process.
        attempts: How often it was started.
        unknown: How many of these attempts were cut off before their cost was noted.
        finished: Whether it has ended well.
    """

    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    attempts: int = 0
    unknown: int = 0
    finished: bool = False
    wall_seconds: float = 0.0


class StageProcesses:
    """Runs `coordexp` for any thread that asks, until it is told to stop.

    Args:
        environment: Of the processes.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, arguments: Sequence[str], log: IO[bytes]) -> tuple[int, struct_rusage]:
        """Run `coordexp ARGUMENTS` to its end; return its exit code and what it has used.

        Raises:
            KeyboardInterrupt: If it, or this runner, was told to stop.
        """
        words = [sys.executable, "-m", "coordexp", *arguments]
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
            self._running.add(process)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        finally:
            self._running.discard(process)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        if code in _STOPPED:
            raise KeyboardInterrupt
        return code, usage

    def stop(self) -> None:
        """Tell what is running to stop, and start nothing more."""
        with self._lock:
            self._stopped = True
            for process in tuple(self._running):
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(process.pid, signal.SIGTERM)


class StageBook:
    """Runs the stages of one run and keeps what they cost.

    Args:
        folder: Of the run.
        runner: Starts the processes.
        say: Takes each command when it begins.
    """

    def __init__(
        self,
        folder: Path,
        runner: StageProcesses,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._runner = runner
        self._say = say
        self._path = folder / NAME
        self.costs: dict[str, StageCost] = {}
        if self._path.exists():
            known = json.loads(self._path.read_text(encoding="utf-8"))
            self.costs = {name: StageCost(**cost) for name, cost in known.items()}

    def run(self, name: str, arguments: Sequence[str | Path], *, makes: Path | None = None) -> None:
        """Run `coordexp ARGUMENTS`, unless the stage has ended well before.

        Args:
            name: Of the stage.
            arguments: Of the command.
            makes: What it leaves: where that is gone, the stage has not ended well.

        Raises:
            CoordExpError: If it fails, with the last lines that it wrote.
            KeyboardInterrupt: If it was told to stop, which says nothing of what it does.
        """
        before = self.costs.get(name, StageCost())
        if before.finished and (makes is None or makes.exists()):
            return
        # Counted as unknown until it ends.
        self._note(name, before, attempts=before.attempts + 1, unknown=before.unknown + 1)
        self._say(shlex.join(["coordexp", *map(str, arguments)]))
        began = time.monotonic()
        with (self._folder / LOG).open("ab") as log:
            code, usage = self._runner.run([*map(str, arguments)], log)
        self._note(
            name,
            before,
            attempts=before.attempts + 1,
            cpu_seconds=round(before.cpu_seconds + usage.ru_utime + usage.ru_stime, 1),
            wall_seconds=round(before.wall_seconds + time.monotonic() - began, 1),
            peak_mb=round(max(before.peak_mb, usage.ru_maxrss / _MB), 1),
            finished=code == 0,
        )
        if code != 0:
            raise CoordExpError(f"{name} failed with exit code {code}: {self._last_words()}")

    def _note(self, name: str, before: StageCost, **changes: float | bool) -> None:
        self.costs[name] = StageCost(**(asdict(before) | changes))
        costs = {stage: asdict(cost) for stage, cost in self.costs.items()}
        write_text(self._path, json.dumps(costs, indent=2) + "\n")

    def _last_words(self) -> str:
        lines = (self._folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a stage that may use some threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "TOKENIZERS_PARALLELISM": "false"}
