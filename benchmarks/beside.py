"""The same command by two states of the code: CPU time in turns, round by round."""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parents[1] / "src"
ROUNDS = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the other state."""
    parser.add_argument("--beside", type=Path, help="the src folder of another state of the code")
    parser.add_argument("--state", help="what that state is called in the results")
    parser.add_argument("--quick", action="store_true", help="small: does it run?")


def states(given: argparse.Namespace) -> Mapping[str, Path]:
    """Return the source folder of each contender."""
    return {"here": HERE} | ({"beside": given.beside} if given.beside else {})


def measure(sources: Mapping[str, Path], command: Sequence[str]) -> dict[str, float]:
    """Return the median of each contender's times, and of the ratios of the pairs."""
    times: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(ROUNDS):
        for name, source in sources.items():
            times[name].append(cpu_seconds(source, command))
    row = {f"{name}_s": round(statistics.median(found), 3) for name, found in times.items()}
    if "beside" in times:
        pairs = zip(times["here"], times["beside"], strict=True)
        row["ratio"] = round(statistics.median(here / beside for here, beside in pairs), 3)
    return row


def cpu_seconds(source: Path, command: Sequence[str]) -> float:
    """Return the CPU time of one `coordexp` command by the code in a folder, start included."""
    variables = {**os.environ, "PYTHONPATH": str(source.resolve())}
    words = (sys.executable, "-m", "coordexp", *command)
    with subprocess.Popen(words, env=variables, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{source}: {' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime
