"""What `training.py` notes of training loops: whose turn it is, and where CPU time goes."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

PROMPT = "Detect every object in the image and answer with one JSON object."


class Baton:
    """Lets training loops in threads take turns, one optimizer step each."""

    def __init__(self, names: list[str]) -> None:
        self._waiting = list(names)
        self._changed = threading.Condition()

    def take(self, name: str) -> None:
        """Wait for one's turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting[0] == name)

    def pass_on(self, name: str) -> None:
        """Let the next one work."""
        with self._changed:
            self._waiting.remove(name)
            self._waiting.append(name)
            self._changed.notify_all()

    def leave(self, name: str) -> None:
        """Take no more turns."""
        with self._changed:
            self._waiting.remove(name)
            self._changed.notify_all()


class StepClock(TrainerCallback):
    """Notes the CPU seconds of this thread from the end of one step to that of the next.

    So a step is all of it: its batch, its two passes, the optimizer, callbacks and the log.

    Args:
        name: Of the contender.
        baton: Whose turn it is.
        attribution: Read at the end of each step.
    """

    def __init__(self, name: str, baton: Baton, attribution: "Attribution") -> None:
        self.name = name
        self.baton = baton
        self.attribution = attribution
        self.steps: list[float] = []
        self.spent: list[dict[str, float]] = []
        self.process: list[float] = []
        self._start = 0.0

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Wait for the first turn."""
        self.baton.take(self.name)
        self._start = time.thread_time()

    def on_step_end(self, *_: object, **__: object) -> None:
        """Note the step and wait for the next turn."""
        self.steps.append(time.thread_time() - self._start)
        self.spent.append(dict(self.attribution.seconds))
        self.process.append(time.process_time())
        self.baton.pass_on(self.name)
        self.baton.take(self.name)
        self._start = time.thread_time()


class FirstStep(TrainerCallback):
    """Prints the CPU seconds since the process began when steps begin and end, and leaves.

    Args:
        steps: After how many.
        report: Takes the figures.
    """

    def __init__(self, steps: int, report: Callable[[dict[str, float]], None]) -> None:
        self._steps = steps
        self._report = report
        self._begun: float | None = None

    def on_step_begin(self, *_: object, **__: object) -> None:
        """Note the start of the first step."""
        self._begun = self._begun or time.process_time()

    def on_step_end(self, _args: object, state: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        """Report and leave, without the finish of the run."""
        if state.global_step < self._steps:
            return
        status = Path("/proc/self/status").read_text()
        self._report(
            {
                "before first step": self._begun or 0.0,
                "to end of step": time.process_time(),
                "peak MB": int(status.split("VmHWM:")[1].split()[0]) / 1024,
            }
        )
        os._exit(0)


class Attribution:
    """CPU seconds of this thread by what they were spent on.

    What is called inside something that is timed belongs to that; nothing is counted twice.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = False

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count what happens inside, unless it is counted already."""
        if self._inside:
            yield
            return
        self._inside = True
        start = time.thread_time()
        try:
            yield
        finally:
            self.seconds[what] += time.thread_time() - start
            self._inside = False

    def wrap(self, owner: object, name: str, what: str) -> None:
        """Count every call of a function that an object, a class or a module holds."""
        inner = getattr(owner, name)

        @wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            with self.of(what):
                return inner(*args, **kwargs)

        setattr(owner, name, timed)
