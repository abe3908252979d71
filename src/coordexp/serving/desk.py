"""A bounded queue in front of a model.

One thread reads requests and pictures, one asks the model; what has come while it was busy is asked
together. So a model is never asked by two threads at once, and a batch is as large as the demand.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from coordexp.answers.answer import Answer
from coordexp.inference.run.ask import HalvingAsk, LimitedAsk, Question

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """A question with what is needed to answer it.

    Args:
        question: The picture and the prompt.
        limit: Longest answer.
        top_logprobs: How many bins are told at a coordinate; None tells no probabilities.
    """

    question: Question
    limit: int
    top_logprobs: int | None


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer beside what was asked."""

    asking: Asking
    answer: Answer


Job = tuple[Asking, "Future[Answered]"]

_GATHER_S = 0.02


class Desk:
    """Takes requests and answers them in their order.

    Args:
        read: Makes a question of the body of a request.
        ask: Asks the model.
        batch_size: Questions at once.
        most: Requests that may be here at once; `is_full` from then on.
    """

    def __init__(
        self, read: Callable[[bytes], Asking], ask: LimitedAsk, *, batch_size: int, most: int
    ) -> None:
        self._read = read
        self._limited = ask
        self._limit = 0
        self._ask = HalvingAsk(lambda questions: self._limited(questions, self._limit))
        self._batch_size = batch_size
        self._most = most
        self._here = 0
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="requests")
        self._asker = threading.Thread(target=self._answer_all, name="model", daemon=True)
        self._asker.start()

    @property
    def is_full(self) -> bool:
        """Whether no more requests are taken."""
        return self._here >= self._most

    def enter(self) -> None:
        """Count a request in, before its body is read."""
        self._here += 1

    def leave(self) -> None:
        """Count it out, however it ended."""
        self._here -= 1

    def submit(self, content: bytes) -> "Future[Answered]":
        """Return the answer to a request's body, once it is there.

        Its exceptions are those of `read` and of the model. Who cancels it in time is not asked
        about.
        """
        future: Future[Answered] = Future()
        self._readers.submit(self._take, content, future)
        return future

    def close(self) -> None:
        """Answer what is here, and end."""
        self._readers.shutdown()
        self._jobs.put(None)
        self._asker.join()

    def _take(self, content: bytes, future: "Future[Answered]") -> None:
        if future.cancelled():
            return
        try:
            asking = self._read(content)
        except Exception as error:  # noqa: BLE001 - the thread goes on, and whoever waits is told
            _fail(future, error)
            return
        self._jobs.put((asking, future))

    def _answer_all(self) -> None:
        waiting: deque[Job] = deque()
        open_ = True
        while open_ or waiting:
            if not waiting:
                open_ = _move(self._jobs, waiting, wait_s=None)
            until = time.monotonic() + _GATHER_S
            while open_ and len(waiting) < self._batch_size:
                # Those who are here and have not been read come in a moment, and would else be
                # asked one by one and the rest together, in turns.
                left = until - time.monotonic() if len(waiting) < self._here else 0.0
                try:
                    open_ = _move(self._jobs, waiting, wait_s=max(left, 0.0))
                except queue.Empty:
                    break
            self._answer(self._next_batch(waiting))

    def _next_batch(self, waiting: deque[Job]) -> list[Job]:
        """Take the oldest jobs with one limit, without those that nobody waits for any more."""
        batch: list[Job] = []
        while waiting and len(batch) < self._batch_size:
            if batch and waiting[0][0].limit != batch[0][0].limit:
                break
            job = waiting.popleft()
            if job[1].set_running_or_notify_cancel():
                batch.append(job)
        return batch

    def _answer(self, batch: list[Job]) -> None:
        if not batch:
            return
        self._limit = batch[0][0].limit
        try:
            answers = self._ask([asking.question for asking, _ in batch])
        except Exception as error:
            logger.exception("a batch of %d could not be answered", len(batch))
            for _, future in batch:
                future.set_exception(error)
            return
        for (asking, future), answer in zip(batch, answers, strict=True):
            future.set_result(Answered(asking, answer))


def _move(jobs: "queue.Queue[Job | None]", waiting: deque[Job], *, wait_s: float | None) -> bool:
    """Move one job, and return whether more may come.

    Args:
        jobs: From here.
        waiting: To there.
        wait_s: How long one is waited for; None for ever.

    Raises:
        queue.Empty: If none came.
    """
    job = jobs.get(timeout=wait_s) if wait_s is None or wait_s > 0 else jobs.get_nowait()
    if job is None:
        return False
    waiting.append(job)
    return True


def _fail(future: "Future[Answered]", error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
