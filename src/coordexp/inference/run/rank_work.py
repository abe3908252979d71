"""What a process does with its share of the batches: read ahead, ask, make lines."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import RowOptions, prediction_row
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image
from coordexp.errors import RecordError
from coordexp.inference.run.ask import MakesQuestions
from coordexp.inference.run.inputs import PictureInput

Asked = TypeVar("Asked")
Entries = list[dict[str, object]]

_AHEAD = 2  # batches that are read before they are needed


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Asked]):
    """Images that are asked for together.

    Args:
        indices: Their places in the data.
        records: What is known of them.
        questions: What is asked.
        unread: Pictures that could not be read, by place, with the reason.
    """

    indices: list[int]
    records: list[Record]
    questions: list[Asked]
    unread: dict[int, str]


@dataclass(frozen=True, slots=True)
class RankWork(Generic[Asked]):
    """What a rank does with its batches.

    Args:
        ask: What answers.
        questions: Makes what it is asked.
        source: The records.
        root: The folder of the pictures, relative to that of the predictions.
        row_options: What becomes of an answer.
    """

    ask: Callable[[Sequence[Asked]], list[Answer]]
    questions: MakesQuestions[Asked]
    source: PictureInput
    root: str
    row_options: RowOptions

    def lines(self, shares: Iterable[Sequence[int]], in_flight: int) -> Generator[Entries]:
        """Yield the lines of each batch as they come."""
        with closing(self._batches(shares)) as batches:
            if in_flight == 1:
                yield from map(self._entries, batches)
            else:
                yield from _side_by_side(self._entries, batches, in_flight)

    def _batches(self, shares: Iterable[Sequence[int]]) -> Generator[_Batch[Asked]]:
        """Yield the batches, read by another thread while this one works."""
        own = self.questions.of_its_own()
        pending: deque[Future[_Batch[Asked]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="pictures") as pool:
            try:
                for share in shares:
                    pending.append(pool.submit(_read, self.source, own, share))
                    if len(pending) > _AHEAD:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _entries(self, batch: _Batch[Asked]) -> Entries:
        """Return the lines of a batch."""
        style, marks = self.questions.style, self.questions.end_marks
        answers = self.ask(batch.questions) if batch.questions else []
        entries: Entries = []
        for index, record, answer in zip(batch.indices, batch.records, answers, strict=True):
            row = prediction_row(
                record, answer, style, self.root, self.row_options, end_marks=marks
            )
            entries.append({"key": self.source.key_of(index), "row": row})
        for index, why in batch.unread.items():
            entries.append({"key": self.source.key_of(index), "unread": why})
        return entries


def _side_by_side(
    work: Callable[[_Batch[Asked]], Entries], batches: Iterable[_Batch[Asked]], most: int
) -> Iterator[Entries]:
    """Yield what becomes of each batch, in the order in which they are done.

    Args:
        work: Is done by threads.
        batches: Taken when there is a thread for them.
        most: How many threads there are.
    """
    pending: set[Future[Entries]] = set()
    with ThreadPoolExecutor(most, thread_name_prefix="asks") as pool:
        try:
            for batch in batches:
                if len(pending) == most:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
                pending.add(pool.submit(work, batch))
            yield from (future.result() for future in as_completed(pending))
        finally:
            for future in pending:
                future.cancel()


def _read(
    source: PictureInput, questions: MakesQuestions[Asked], indices: Sequence[int]
) -> _Batch[Asked]:
    batch: _Batch[Asked] = _Batch([], [], [], {})
    for index in indices:
        try:
            record = source[index]
            picture = load_image(source.root, record)
            question = questions.question(record, picture)
        except RecordError as error:
            batch.unread[index] = str(source.error_at(index, error))
            continue
        batch.indices.append(index)
        batch.records.append(record)
        batch.questions.append(question)
    return batch
