"""Predictions for a file of records, a picture or a folder of them, as JSONL.

Images are asked for in batches, which are dealt out to the ranks in turn and are the same for any
number of ranks. The next batch is read and resized while the model works on this one. Of an image,
some 50 bytes stay in memory: where its record is, its key, and where its answer is kept.
"""

import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console
from rich.progress import track

from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import BELOW_MIN_SCORE
from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import CoordExpError
from coordexp.inference.run.ask import EncodedQuestions, HalvingAsk, MakesQuestions, build_ask
from coordexp.inference.run.inputs import Excerpt, PictureInput, load_source
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.parts import Parts
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.inference.run.rank_work import Asked, Entries, RankWork
from coordexp.inference.run.ranks import Ranks

__all__ = ["Predictor", "load_predictor", "predict_file"]

Batch = TypeVar("Batch")

_SECONDS_BETWEEN_LINES = 30.0  # of a log file


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has written; all zero on every rank but the first.

    Args:
        lines: Images with a line.
        objects: Objects in them.
        repeated: Objects that were left out because they repeat another.
        not_asked: Objects that were left out because their desc is none of the classes.
        stopped: Lines whose answer was ended because it said nothing new.
        below: Objects that were left out because their score is too low.
        below_lines: Lines that have such objects.
        unread: What was wrong with each picture that could not be read.
        indices: Of each line, the place of its record in the data.
    """

    lines: int = 0
    objects: int = 0
    repeated: int = 0
    not_asked: int = 0
    stopped: int = 0
    below: int = 0
    below_lines: int = 0
    unread: Sequence[str] = ()
    indices: Sequence[int] = ()


def _nothing(_: Summary) -> None:
    """Make nothing else."""


def predict_file(
    predictor: Predictor,
    data: Path | str,
    out: Path | str,
    options: PredictOptions,
    *,
    ranks: Ranks | None = None,
    then: Callable[[Summary], None] = _nothing,
) -> Summary:
    """Ask a model about each image and write what it says; see `answer_file`.

    Args:
        predictor: The model.
        data: JSONL of records, a picture, or a folder of them.
        out: JSONL of predictions.
        options: How; the backend is the predictor.
        ranks: Which share is this process's; None for all of it.
        then: As in `AnswerFile`.

    Raises:
        InputError: As `answer_file` does, or if nothing can keep the model to some descs.
    """
    return answer_file(
        HalvingAsk(build_ask(predictor, options.asking)),
        AnswerFile(
            EncodedQuestions(predictor.encoder),
            Path(data),
            Path(out),
            model=str(predictor.path.resolve()),
            then=then,
        ),
        options,
        ranks=ranks or Ranks(),
    )


@dataclass(frozen=True, slots=True)
class AnswerFile(Generic[Asked]):
    """Which images are asked about, and where the answers go.

    Args:
        questions: Makes them.
        data: JSONL of records, a picture, or a folder of them.
        out: JSONL of predictions.
        model: Name of what answers, so that only the same run is gone on with.
        indices: Which images are asked about; None for all.
        then: What else rank 0 makes of the predictions. It comes before the answers that a stopped
            run goes on with are deleted, so that nothing is asked twice where it was stopped here.
    """

    questions: MakesQuestions[Asked]
    data: Path
    out: Path
    model: str
    indices: Sequence[int] | None = None
    then: Callable[[Summary], None] = _nothing


def answer_file(
    ask: Callable[[Sequence[Asked]], list[Answer]],
    files: AnswerFile[Asked],
    options: PredictOptions,
    *,
    ranks: Ranks,
    in_flight: int = 1,
    quiet: bool = False,
) -> Summary:
    """Write one prediction line for each image that can be read.

    What is answered is kept beside the output until that is complete, and a run that was stopped
    goes on from there.

    Args:
        ask: What answers.
        files: What is asked about, and where the answers go.
        options: How.
        ranks: Which share is this process's.
        in_flight: How many batches are asked at once, each by a thread.
        quiet: Whether no progress is shown.

    Raises:
        RecordError: If a record is wrong; nothing is written then.
        InputError: If the output has the remains of another run beside it.
        CoordExpError: If answers have vanished; there is no output then.
    """
    work = build_work(ask, files, options)
    lines = partial(work.lines, in_flight=in_flight)
    return write_answers(lines, work.source, files, options, ranks=ranks, quiet=quiet)


def build_work(
    ask: Callable[[Sequence[Asked]], list[Answer]],
    files: AnswerFile[Asked],
    options: PredictOptions,
) -> RankWork[Asked]:
    """Return what makes lines of batches; any process may do any of them.

    Raises:
        RecordError: If a record is wrong.
        InputError: If there is nothing to predict on.
    """
    source = load_source(files.data, files.questions.style.alphabet, prompt=options.prompt)
    return RankWork(
        ask=ask,
        questions=files.questions,
        source=source if files.indices is None else Excerpt(source, files.indices),
        root=os.path.relpath(source.root, files.out.parent),
        row_options=options.rows,
    )


def write_answers(
    lines: Callable[[Iterator[list[int]]], Generator[Entries]],
    source: PictureInput,
    files: AnswerFile[Asked],
    options: PredictOptions,
    *,
    ranks: Ranks,
    quiet: bool = False,
) -> Summary:
    """Keep the lines of every batch as they come, and join them; see `answer_file`.

    Args:
        lines: Gives the lines of batches, in any order, each as the places of its images.
        source: The images.
        files: Where they are from, and where the answers go.
        options: How they are asked about.
        ranks: Which share is this process's.
        quiet: Whether no progress is shown.

    Raises:
        InputError: As `answer_file` does.
        CoordExpError: As `answer_file` does.
    """
    out = files.out
    whole = {"data": str(files.data.resolve()), "model": files.model, **options.identity()}
    parts = Parts(out, whole)
    # Looked for twice: kept, the batches of a million images would take 100 MB.
    shares = partial(_open_batches, source, options.batch_size, parts, ranks)
    total = sum(1 for _ in shares())
    console = Console(stderr=True, quiet=quiet or ranks.rank > 0)
    with parts.writer(ranks.rank) as writer, closing(lines(shares())) as answered:
        for entries in shown_progress(answered, total=total, console=console):
            writer.append(entries)
    ranks.wait()
    if ranks.rank > 0:
        return Summary()
    parts = Parts(out, whole)
    summary = _join(parts, source, out)
    files.then(summary)
    parts.remove()
    return summary


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
    source: PictureInput, batch_size: int, parts: Parts, ranks: Ranks
) -> Iterator[list[int]]:
    """Yield a rank's batches without what has its line already."""
    count = len(source)
    for start in range(0, count, batch_size)[ranks.rank :: ranks.count]:
        batch = range(start, min(start + batch_size, count))
        if still := [index for index in batch if not parts.is_done(source.key_of(index))]:
            yield still


def _join(parts: Parts, source: PictureInput, out: Path) -> Summary:
    """Write the predictions in the order of the data, each line once."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    unread: list[str] = []
    indices = array("q")

    def rows() -> Iterator[dict[str, Any]]:
        for index in range(len(source)):
            key = source.key_of(index)
            if (row := parts.row(key)) is not None:
                own = [drop["reason"] for drop in row["parse"]["dropped"]]
                reasons.update(own)
                counts["objects"] += len(row["pred"])
                counts["below"] += BELOW_MIN_SCORE in own
                counts["stopped"] += row["finish_reason"] == "repeats"
                indices.append(index)
                yield row
            elif (why := parts.unread(key)) is not None:
                unread.append(why)
            else:
                raise CoordExpError(
                    f"{out}: image {index + 1} of {len(source)} was answered, and its answer is "
                    f"not in {out.name}.part*; do all machines write to the same disk, and nobody "
                    "else to these files? Given again, the command asks for what is not there"
                )

    lines = write_jsonl(out, rows())
    return Summary(
        lines=lines,
        objects=counts["objects"],
        repeated=reasons["repeated"],
        not_asked=reasons["not in classes"],
        stopped=counts["stopped"],
        below=reasons[BELOW_MIN_SCORE],
        below_lines=counts["below"],
        unread=unread,
        indices=indices,
    )
