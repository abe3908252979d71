"""`coordexp predict` on many machines, through Ray Data.

    python examples/predict_on_ray.py MODEL RECORDS.jsonl OUT.jsonl --workers 16 --gpus 1

Ray runs it on the cluster of RAY_ADDRESS, or on this machine alone. Each worker holds the model and
reads records and pictures itself, so they lie where all machines see them; only this process
writes. A worker that was killed is started again by Ray, and its share given to another. When this
process was killed, the same command goes on; so does `coordexp predict`.
"""

import argparse
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # its makers are told of its use otherwise

import ray
from ray.data import ActorPoolStrategy

from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import RowOptions
from coordexp.inference.run.ask import AskOptions, EncodedQuestions, HalvingAsk, Question, build_ask
from coordexp.inference.run.inputs import load_source, longest_prompt
from coordexp.inference.run.options import BATCH_SIZES, PredictOptions
from coordexp.inference.run.predict import AnswerFile, build_work, load_predictor, write_answers
from coordexp.inference.run.predictor import load_encoder
from coordexp.inference.run.rank_work import Entries
from coordexp.inference.run.ranks import Ranks
from coordexp.inference.run.vllm_backend import load_vllm_ask


@dataclass(frozen=True)
class Job:
    """What every process knows."""

    model: Path
    data: Path
    out: Path
    options: PredictOptions

    def load_files(self) -> AnswerFile[Question]:
        """Return what is asked about; it takes the model's small files alone."""
        encoder, _ = load_encoder(self.model)
        questions = EncodedQuestions(encoder, with_patches=self.options.backend == "hf")
        return AnswerFile(questions, self.data, self.out, model=str(self.model))

    def load_ask(self) -> Callable[[Sequence[Question]], list[Answer]]:
        """Return the model, or the engine, that answers."""
        asking = self.options.asking
        if self.options.backend == "vllm":
            encoder, vocab = load_encoder(self.model)
            longest = longest_prompt(load_source(self.data, encoder.style.alphabet), encoder)
            return load_vllm_ask(
                self.model, encoder, vocab, asking, engine={}, longest_prompt=longest
            )
        return HalvingAsk(build_ask(load_predictor(self.model), asking))


class Worker:
    """Answers shares of the records; Ray makes as many as it is told to.

    Args:
        job: What is to be done.
    """

    def __init__(self, job: Job) -> None:
        self._work = build_work(job.load_ask(), job.load_files(), job.options)
        self._size = job.options.batch_size

    def __call__(self, row: dict[str, Sequence[int]]) -> dict[str, str]:
        """Return the lines of a share, given as the places of its records in the file."""
        places = [int(place) for place in row["places"]]
        batches = (places[at : at + self._size] for at in range(0, len(places), self._size))
        return {
            "lines": json.dumps([line for lines in self._work.lines(batches, 1) for line in lines])
        }


def through_ray(
    shares: Iterator[list[int]], job: Job, workers: int, gpus: float
) -> Generator[Entries]:
    """Yield the lines of each share, in the order in which they are done."""
    rows = [{"places": share} for share in shares]
    if not rows:
        return
    answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_args=[job],
        compute=ActorPoolStrategy(size=workers),
        num_gpus=gpus,
    )
    for row in answered.iter_rows():
        yield json.loads(row["lines"])


def main() -> None:
    """Read the command line, and answer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("model", "data", "out"):
        parser.add_argument(name, type=lambda given: Path(given).resolve())
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpus", type=float, default=0, help="For each worker.")
    parser.add_argument("--backend", choices=["hf", "vllm"], default="hf")
    parser.add_argument("--share", type=int, default=256, help="Records that a worker is given.")
    parser.add_argument("--max-new-tokens", type=int, default=2048)
    given = parser.parse_args()
    asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=given.max_new_tokens)
    options = PredictOptions(
        batch_size=BATCH_SIZES[given.backend],
        asking=asking,
        rows=RowOptions(),
        backend=given.backend,
    )
    job = Job(given.model, given.data, given.out, options)
    files = job.load_files()
    source = load_source(job.data, files.questions.style.alphabet)
    lines = partial(through_ray, job=job, workers=given.workers, gpus=given.gpus)
    shares = replace(options, batch_size=given.share)
    summary = write_answers(lines, source, files, shares, ranks=Ranks())
    print(f"{job.out}: {summary.lines} predictions")
    for why in summary.unread:
        print(f"not read: {why}")


if __name__ == "__main__":
    main()
