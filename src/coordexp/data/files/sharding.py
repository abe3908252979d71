"""A long file cut into shards, each worked on alone, in parallel and restartable.

Where the cuts are depends on the file alone, so that the output is the same whatever the number of
workers. A finished shard is a file in the work folder under a name that says what it was made from;
when the same work is started again, it is taken as it is. A shard that was cut off has no such
file.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeVar

from coordexp.data.files.jsonl import read_lines
from coordexp.errors import CoordExpError, InputError

Job = TypeVar("Job")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Shard:
    """Some lines of a file.

    Args:
        path: The file.
        first_line: Number of the first line, from 1.
        offset: Its place in the file, in bytes.
        size: Bytes of all lines together.
    """

    path: Path
    first_line: int
    offset: int
    size: int

    def content(self) -> bytes:
        """Return the lines as they stand in the file.

        Raises:
            InputError: If the file cannot be read any more.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror or error}") from None


def cut_into_shards(path: Path, lines: int) -> Iterator[Shard]:
    """Yield the shards of a JSONL file, each of so many lines.

    Raises:
        InputError: If the file cannot be read.
        RecordError: If a blank line stands between records, or a line is longer than any record.
    """
    first, offset, size = 1, 0, 0
    number = 0
    for number, line in read_lines(path):
        if number - first == lines:
            yield Shard(path, first, offset, size)
            first, offset, size = number, offset + size, 0
        size += len(line)
    if number:
        yield Shard(path, first, offset, size)


def run_in_order(
    work: Callable[[Job], Done], jobs: Iterable[Job], *, workers: int
) -> Iterator[Done]:
    """Yield the result of every job, in the order of the jobs.

    Jobs are taken from the iterable as workers become free. With one worker, this process does
    the work. Otherwise others do, started anew: a program that calls this needs the usual
    `if __name__ == "__main__"`.

    Raises:
        CoordExpError: If a worker was killed.
    """
    if workers == 1:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    try:
        yield from _results(pool, work, jobs, ahead=2 * workers)
    except BrokenProcessPool:
        raise CoordExpError(
            "a worker was killed, perhaps for lack of memory; run the same command again, with "
            "fewer --workers: what is finished is kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    pool: ProcessPoolExecutor, work: Callable[[Job], Done], jobs: Iterable[Job], *, ahead: int
) -> Iterator[Done]:
    waiting: deque[Future[Done]] = deque()
    for job in jobs:
        waiting.append(pool.submit(work, job))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker() -> None:
    # An interrupt is the parent's to answer. When the parent was killed nobody tells its workers,
    # and they would wait for the next job for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()


def _leave_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        sys.stderr.flush()
        os._exit(1)
