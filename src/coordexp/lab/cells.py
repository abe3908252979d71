"""Running a study: its cells, some at a time, each once."""

import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from coordexp.errors import InputError
from coordexp.lab.execute import execute, load_line
from coordexp.lab.groundwork import prepare_bases, prepare_data
from coordexp.lab.results import Line, append_line, load_lines
from coordexp.lab.stages import StageProcesses, environment
from coordexp.lab.study import Cell, Plan


def run_study(plan: Plan, *, processes: int, threads: int, say: Callable[[str], None]) -> bool:
    """Run what of a plan has not ended well; return whether all has now.

    Args:
        plan: The study.
        processes: Runs at a time.
        threads: Of each.
        say: Takes a line for every command that begins and every run that ends.

    Raises:
        InputError: If another process is running the same study.
        KeyboardInterrupt: If the study, or one of its runs, is told to stop. All are then and go
            on where they were when this is called again.
    """
    with _claimed(plan.study.out):
        todo = [cell for cell in plan.cells if not _is_done(plan, cell)]
        say(f"{plan.name}: {len(plan.cells)} runs, {len(plan.cells) - len(todo)} of them done")
        runner = StageProcesses(environment(threads))
        with _stopping_together(processes, runner) as pool:
            prepare_bases(plan, runner, say=say)
            for cell in todo:  # before the first run, so that two never paint the same pictures
                prepare_data(plan, cell.task, size=cell.size, seed=cell.seed)
            well = True
            runs = [
                pool.submit(execute, plan, cell, runner, say=partial(_say_of, cell, say))
                for cell in todo
            ]
            for number, run in enumerate(as_completed(runs), start=1):
                line = run.result()
                well &= line.problem is None
                _record(plan, line)
                say(f"{number}/{len(todo)} {told(line)}")
    return well


@contextmanager
def _stopping_together(processes: int, runner: StageProcesses) -> Iterator[ThreadPoolExecutor]:
    """Give a pool whose runs end, and whose waiting runs are dropped, when the block is left early.

    By itself a pool would go on to its last run, and with it a study that was interrupted.
    """
    pool = ThreadPoolExecutor(max_workers=processes)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        runner.stop()
        raise
    finally:
        pool.shutdown()


def told(line: Line) -> str:
    """Return a run's line for people."""
    name = run_name(line)
    if line.problem is not None:
        return f"{name}: failed: {line.problem}"
    seconds = sum(cost["cpu_seconds"] for cost in line.cost.values())
    shown = ", ".join(
        f"{answer} AP {figures['AP']:.3f} F1@0.5 {figures['F1@0.5']:.3f}"
        for answer, figures in line.figures.items()
    )
    return f"{name}: {shown}; {seconds:.0f} CPU s"


def run_name(run: Cell | Line) -> str:
    """Return a run's name for people."""
    return f"{run.task} {run.size} {run.recipe} seed {run.seed}"


def _say_of(cell: Cell, say: Callable[[str], None], words: str) -> None:
    say(f"{run_name(cell)}: {words}")


def _is_done(plan: Plan, cell: Cell) -> bool:
    line = load_line(plan.study.out / "runs" / cell.folder)
    if line is None or line.problem is not None:
        return False
    if line.digest != plan.digest(cell.recipe):
        raise InputError(
            f"{plan.study.out / 'runs' / cell.folder}: was run with another recipe under the name "
            f"{cell.recipe}; rename the recipe, or remove the folder"
        )
    _record(plan, line)
    return True


def _record(plan: Plan, line: Line) -> None:
    """Add a line to the results, unless the same is there."""
    path = plan.study.results
    if path is not None and load_lines(path).get(line.key) != line:
        append_line(path, line)


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "study.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another process is running this study") from None
        yield
