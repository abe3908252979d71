"""Predictions for a file of records, or a folder of pictures, as JSONL.

Images are asked for in batches, which are dealt out to the ranks in turn and are the same for any
number of ranks. The next batch is read and resized while the model works on this one.
"""

import copy
import os
import time
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track

from coordexp.answers.prediction_lines import RowOptions, prediction_row
from coordexp.data.contract.record import Record
from coordexp.data.files.image import load_image
from coordexp.errors import RecordError
from coordexp.inference.run.ask import Ask, HalvingAsk, Question, build_ask
from coordexp.inference.run.inputs import Excerpt, PictureInput, load_source
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.parts import Parts
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.inference.run.ranks import Ranks
from coordexp.rendering.encode import Encoder

__all__ = ["Predictor", "load_predictor", "predict_file"]

Batch = TypeVar("Batch")

_AHEAD = 2  # batches that are read before they are needed
_SECONDS_BETWEEN_LINES = 30.0  # of a log file


@dataclass(frozen=True, slots=True)
class _Batch:
    """Images that are asked for together.

    Args:
        indices: Their places in the data.
        records: What is known of them.
        questions: What is asked.
        unread: Pictures that could not be read, by place, with the reason.
    """

    indices: list[int]
    records: list[Record]
    questions: list[Question]
    unread: dict[int, str]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has written; all zero on every rank but the first.

    Args:
        lines: Images with a line.
        objects: Objects in them.
        repeated: Objects that were left out because they repeat another.
        not_asked: Objects that were left out because their desc is none of the classes.
        unread: What was wrong with each picture that could not be read.
        indices: Of each line, the place of its record in the data.
    """

    lines: int = 0
    objects: int = 0
    repeated: int = 0
    not_asked: int = 0
    unread: Sequence[str] = ()
    indices: Sequence[int] = ()


def predict_file(
    predictor: Predictor,
    data: Path | str,
    out: Path | str,
    options: PredictOptions,
    *,
    ranks: Ranks | None = None,
) -> Summary:
    """Ask a model about each image and write what it says; see `answer_file`.

    Args:
        predictor: The model.
        data: JSONL of records, or a folder of pictures.
        out: JSONL of predictions.
        options: How; the backend is the predictor.
        ranks: Which share is this process's; None for all of it.

    Raises:
        InputError: As `answer_file` does, or if nothing can keep the model to some descs.
    """
    return answer_file(
        HalvingAsk(build_ask(predictor, options.asking)),
        AnswerFile(predictor.encoder, Path(data), Path(out), model=str(predictor.path.resolve())),
        options,
        ranks=ranks or Ranks(),
    )


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """Which images are asked about, and where the answers go.

    Args:
        encoder: Makes the prompts.
        data: JSONL of records, or a folder of pictures.
        out: JSONL of predictions.
        model: Name of what answers, so that only the same run is gone on with.
        indices: Which images are asked about; None for all.
        with_patches: Whether what answers takes the pictures as the encoder's patches. An engine
            that makes its own is given many at once, whose patches would fill the memory.
    """

    encoder: Encoder
    data: Path
    out: Path
    model: str
    indices: Sequence[int] | None = None
    with_patches: bool = True


def answer_file(
    ask: Ask, files: AnswerFile, options: PredictOptions, *, ranks: Ranks, quiet: bool = False
) -> Summary:
    """Write one prediction line for each image that can be read.

    What is answered is kept beside the output until that is complete, and a run that was stopped
    goes on from there.

    Args:
        ask: What answers.
        files: What is asked about, and where the answers go.
        options: How.
        ranks: Which share is this process's.
        quiet: Whether no progress is shown.

    Raises:
        RecordError: If a record is wrong; nothing is written then.
        InputError: If the output has the remains of another run beside it.
    """
    encoder, out = files.encoder, files.out
    source = load_source(files.data, encoder.style.alphabet)
    whole = {"data": str(files.data.resolve()), "model": files.model, **options.identity()}
    if files.indices is not None:
        source = Excerpt(source, files.indices)
    parts = Parts(out, whole)
    shares = _open_batches(source, options.batch_size, parts.done, ranks)
    work = _RankWork(
        ask=ask,
        encoder=encoder,
        source=source,
        root=os.path.relpath(source.root, out.parent),
        row_options=options.rows,
        with_patches=files.with_patches,
    )
    console = Console(stderr=True, quiet=quiet or ranks.rank > 0)
    with parts.writer(ranks.rank) as writer, closing(work.batches(shares)) as batches:
        for batch in shown_progress(batches, total=len(shares), console=console):
            writer.append(work.entries(batch))
    ranks.wait()
    return Summary() if ranks.rank > 0 else _join(Parts(out, whole), source)


@dataclass(frozen=True, slots=True)
class _RankWork:
    """What a rank does with its batches."""

    ask: Ask
    encoder: Encoder
    source: PictureInput
    root: str
    row_options: RowOptions
    with_patches: bool

    def batches(self, shares: Sequence[Sequence[int]]) -> Generator[_Batch]:
        """Yield the batches, read by another thread while this one works."""
        encoder = self.encoder
        # A tokenizer cannot be used by two threads at once.
        own = Encoder(copy.deepcopy(encoder.tokenizer), encoder.inputs, encoder.style)
        pending: deque[Future[_Batch]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="pictures") as pool:
            try:
                for share in shares:
                    pending.append(pool.submit(self._read, own, share))
                    if len(pending) > _AHEAD:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _read(self, encoder: Encoder, indices: Sequence[int]) -> _Batch:
        batch = _Batch([], [], [], {})
        for index in indices:
            try:
                record = self.source[index]
                picture = load_image(self.source.root, record)
                prompt = encoder.encode_prompt(record, picture)
            except RecordError as error:
                batch.unread[index] = str(self.source.error_at(index, error))
                continue
            if not self.with_patches:
                prompt = replace(prompt, pixel_values=torch.empty(0, prompt.pixel_values.shape[1]))
            batch.indices.append(index)
            batch.records.append(record)
            batch.questions.append(Question(prompt, picture))
        return batch

    def entries(self, batch: _Batch) -> list[dict[str, object]]:
        """Return the lines of a batch."""
        encoder, marks = self.encoder, self.encoder.inputs.family.end_marks
        answers = self.ask(batch.questions) if batch.questions else []
        entries: list[dict[str, object]] = []
        for index, record, answer in zip(batch.indices, batch.records, answers, strict=True):
            row = prediction_row(
                record, answer, encoder.style, self.root, self.row_options, end_marks=marks
            )
            entries.append({"key": self.source.key_of(index), "row": row})
        for index, why in batch.unread.items():
            entries.append({"key": self.source.key_of(index), "unread": why})
        return entries


def shown_progress(batches: Iterable[Batch], *, total: int, console: Console) -> Iterator[Batch]:
    """Yield the batches, and show how many are done: a bar on a terminal, else a line at times.

    Args:
        batches: Taken one by one.
        total: How many there are.
        console: Where it is shown.
    """
    if console.is_terminal:
        yield from track(batches, "predict", total=total, console=console)
        return
    told = time.monotonic()
    for done, batch in enumerate(batches, start=1):
        yield batch
        if done == total or time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            console.print(f"predict: {done:,} of {total:,} batches", highlight=False)


def _open_batches(
    source: PictureInput, batch_size: int, done: Collection[str], ranks: Ranks
) -> list[list[int]]:
    """Return a rank's batches without what has its line already."""
    count = len(source)
    starts = range(0, count, batch_size)[ranks.rank :: ranks.count]
    batches = [range(start, min(start + batch_size, count)) for start in starts]
    still = ([index for index in batch if source.key_of(index) not in done] for batch in batches)
    return [batch for batch in still if batch]


def _join(parts: Parts, source: PictureInput) -> Summary:
    keys = [source.key_of(index) for index in range(len(source))]
    objects = 0
    reasons: Counter[str] = Counter()
    for row in parts.rows(keys):
        objects += len(row["pred"])
        reasons.update(drop["reason"] for drop in row["parse"]["dropped"])
    unread, done = parts.unread(keys), parts.done
    lines = parts.join(keys)
    parts.remove()
    return Summary(
        lines=lines,
        objects=objects,
        repeated=reasons["repeated"],
        not_asked=reasons["not in classes"],
        unread=unread,
        indices=[index for index, key in enumerate(keys) if key in done],
    )
