"""What a process of `predict` holds, and that a worker that is killed costs no record.

    python benchmarks/predict_scale.py            10,000 and 100,000 records, minutes of two cores
    python benchmarks/predict_scale.py --quick    200 and 400

Two ranks under torchrun write the predictions of records that share a picture; of all that is real
but the model, which says each record's own number. Rank 1 kills itself with SIGKILL when half of
its share is done, and the same command is given again. Every number must then have its line once,
in order. Peaks are those of the resident memory of either rank; what a record takes is the
difference between the peaks of both sizes.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from results import processor, results_path, write_results

from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import RowOptions
from coordexp.data.contract.record import Record
from coordexp.data.files.jsonl import read_rows, write_jsonl
from coordexp.families.qwen3_vl.family import QWEN3_VL
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predict import AnswerFile, answer_file
from coordexp.inference.run.ranks import launched_ranks
from coordexp.rendering.style import RenderingStyle

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.rendering.plain import PLAIN_STYLE

SIZES, QUICK = (10_000, 100_000), (200, 400)
RANKS, BATCH = 2, 8
SIDE = 32


@dataclass(frozen=True)
class Numbers:
    """Questions that are the prompts of the records."""

    style: RenderingStyle = PLAIN_STYLE
    end_marks: tuple[str, ...] = QWEN3_VL.end_marks

    def of_its_own(self) -> "Numbers":
        """Return itself."""
        return self

    def question(self, record: Record, _picture: Image.Image) -> str:
        """Return the prompt."""
        return str(record.prompt)


def answer(prompt: str) -> Answer:
    """Return a box named after the prompt."""
    head, tail = '{"object_1": {"desc": "', '", "bbox_2d": ["'
    coords = '", "'.join(f"<|coord_{k}|>" for k in (10, 20, 500, 600))
    pieces = (head, prompt, tail, coords, '"]}}')
    return Answer("".join(pieces), pieces, (0.5,) * len(pieces), "eos")


def work(folder: Path, count: int) -> None:
    """Be a rank; the first time rank 1 ends in the middle."""
    killed = folder / "killed"
    with launched_ranks() as ranks:
        half = count // BATCH // RANKS // 2
        asked = 0

        def ask(prompts: Sequence[str]) -> list[Answer]:
            nonlocal asked
            asked += 1
            if ranks.rank == 1 and asked > half and not killed.exists():
                killed.touch()
                note_peak(folder / "peak-1-before")
                os.kill(os.getpid(), signal.SIGKILL)
            return [answer(prompt) for prompt in prompts]

        files = AnswerFile(Numbers(), folder / "d.jsonl", folder / "p.jsonl", model="stub")
        asking = AskOptions(constrain=True, restrict_to=None, max_new_tokens=64)
        options = PredictOptions(batch_size=BATCH, asking=asking, rows=RowOptions())
        answer_file(ask, files, options, ranks=ranks)
        note_peak(folder / f"peak-{ranks.rank}")
        (folder / f"asked-{ranks.rank}").write_text(str(asked))


def note_peak(path: Path) -> None:
    """Write the megabytes that this process has had resident at most."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    path.write_text(str(int(status.split("VmHWM:")[1].split()[0]) / 1024))


def measured(count: int) -> dict[str, float]:
    """Return the peaks of a size in MB, and the share of the batches that was asked twice.

    Raises:
        AssertionError: If a record was lost, or is there twice.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (SIDE, SIDE)).save(folder / "a.png")
        row = {"images": ["a.png"], "width": SIDE, "height": SIDE, "objects": []}
        write_jsonl(folder / "d.jsonl", ({**row, "prompt": f"number {k}"} for k in range(count)))
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
        own = [__file__, "--rank-of", str(folder), "--count", str(count)]
        command = [sys.executable, "-m", *launcher, *own]
        first = subprocess.run(command, capture_output=True, check=False)
        assert first.returncode != 0, "rank 1 was to be killed"
        assert (folder / "killed").exists(), first.stderr.decode()
        kept = sum(1 for path in folder.glob("p.jsonl.part*") for _ in path.open("rb")) - RANKS
        assert not (folder / "p.jsonl").exists()
        subprocess.run(command, check=True)
        said = [row["pred"][0]["desc"] for _, row in read_rows(folder / "p.jsonl")]
        assert said == [f"number {k}" for k in range(count)]
        asked = sum(int(path.read_text()) for path in folder.glob("asked-*"))
        assert (kept + BATCH * (asked - 1)) < count <= kept + BATCH * asked
        peaks = {path.name: float(path.read_text()) for path in folder.glob("peak-*")}
        return {"kept_before": kept / count, **dict(sorted(peaks.items()))}


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rank-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank_of:
        work(given.rank_of, given.count)
        return
    few, many = QUICK if given.quick else SIZES
    figures = {count: measured(count) for count in (few, many)}
    grown = {
        name: (figures[many][name] - figures[few][name]) * 2**20 / (many - few)
        for name in figures[few]
        if name.startswith("peak")
    }
    for count, peaks in figures.items():
        print(f"{count:>9,}", {name: round(value, 3) for name, value in peaks.items()})
    print("bytes a record", {name: round(value) for name, value in grown.items()})
    if not given.quick:
        content = {"machine": processor(), "ranks": RANKS, "figures": figures}
        write_results(results_path("predict-scale"), content | {"bytes_a_record": grown})


if __name__ == "__main__":
    main()
