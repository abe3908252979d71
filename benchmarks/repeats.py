"""Ending answers at their repeats: what it saves a model that loops, and costs one that does not.

    python benchmarks/repeats.py runs/quickstart                  about four minutes of one core
    python benchmarks/repeats.py runs/quickstart --looping DIR    with a looping model of before

The looping model is the tuned one of a quickstart folder, trained on for 40 steps with records
whose list, where it has four objects or more, says the last one twelve times again: so it has
learned to fall into a loop in crowded scenes, and there alone. Both models answer the first
held-out scenes: as ever, with repeats left out afterwards (`--dedup iou=0.95`), and ended at one,
two or three repeats in a row (`--dedup iou=0.95,stop` is two). CPU seconds of one thread.

Not covered: loops whose boxes drift so far that none overlaps an earlier one by that much. This
model has such ones too, for it copies poorly after so few steps; an overlap of 0.8 shows them.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from results import processor, results_path, write_results

from coordexp.answers.answer import Answer
from coordexp.answers.prediction_lines import RowOptions
from coordexp.evaluation.evaluate import compute_figures
from coordexp.inference.decode.repeat_stop import RepeatStop
from coordexp.inference.run.ask import AskOptions, EncodedQuestions, Question, build_ask
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predict import AnswerFile, answer_file
from coordexp.inference.run.predictor import Predictor, load_predictor
from coordexp.inference.run.ranks import Ranks

TUNED = "runs/new-looks/1920/coord-tokens/seed-0"
DATA = "data/new-looks/1920/seed-0"
IOU, LOOSE_IOU = 0.95, 0.8
SCENES, LONGEST, BATCH = 40, 512, 8
TRAINED, STEPS, CROWD, AGAIN = 320, 40, 4, 12
ARMS: Mapping[str, tuple[float | None, RepeatStop | None]] = {
    "off": (None, None),
    "counted": (IOU, None),
    **{f"stop at {k}": (IOU, RepeatStop(IOU, k)) for k in (1, 2, 3)},
    "counted, loose": (LOOSE_IOU, None),
    "stop at 2, loose": (LOOSE_IOU, RepeatStop(LOOSE_IOU, 2)),
}


def main() -> None:
    """Ask both models in every way, print the figures, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("quickstart", type=Path)
    parser.add_argument("--looping", type=Path, help="a merged model that loops")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.quickstart.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        looping = arguments.looping or train_looping(folder, Path(scratch))
        models = {"looping": looping, "tuned": folder / TUNED / "merged"}
        found = {
            name: measured(load_predictor(path), folder / DATA / "heldout.jsonl", Path(scratch))
            for name, path in models.items()
        }
    about = {"machine": processor(), "scenes": SCENES, "iou": IOU, "max_new_tokens": LONGEST}
    print(json.dumps(found, indent=1))
    out = results_path("repeats")
    write_results(out, {**about, **found})
    print(out)


def train_looping(folder: Path, scratch: Path) -> Path:
    """Return the tuned model after training on lists that end in a loop, merged."""
    source, data = folder / DATA, scratch / "data"
    (data / "images").mkdir(parents=True)
    lines = (source / "train.jsonl").read_text(encoding="utf-8").splitlines()[:TRAINED]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        shutil.copy(source / row["images"][0], data / row["images"][0])
        if len(row["objects"]) >= CROWD:
            row["objects"] += row["objects"][-1:] * AGAIN
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "extends": str(folder / TUNED / "train.yaml"),
        "model": {"path": str(folder / TUNED / "merged")},
        "training": {
            "output_dir": str(scratch / "run"),
            "max_steps": STEPS,
            "learning_rate": 0.003,
            "save_steps": STEPS,
        },
        "data": {"train": str(data / "train.jsonl")},
    }
    (scratch / "train.yaml").write_text(json.dumps(config))  # JSON is YAML
    run("train", "--config", scratch / "train.yaml")
    run("merge", scratch / "run", scratch / "looping", "--no-certify")
    return scratch / "looping"


def run(*words: object) -> None:
    """Run a command of coordexp."""
    subprocess.run([sys.executable, "-m", "coordexp", *map(str, words)], check=True)


def measured(predictor: Predictor, data: Path, scratch: Path) -> dict[str, Any]:
    """Return the figures of a model's answers, by how repeats are met."""
    found = {}
    free = Counting(predictor, None)
    for name, (dedup, stop) in ARMS.items():
        asked = free if stop is None else Counting(predictor, stop)
        options = PredictOptions(
            batch_size=BATCH, asking=asked.asking, rows=RowOptions(dedup_iou=dedup)
        )
        out = scratch / f"{predictor.path.parent.name}-{name}.jsonl"
        questions = EncodedQuestions(predictor.encoder)
        files = AnswerFile(questions, data, out, model=name, indices=range(SCENES))
        summary = answer_file(asked, files, options, ranks=Ranks(), quiet=True)
        metrics = compute_figures(out).metrics
        found[name] = {
            "objects": summary.objects,
            "repeats_left": metrics["duplicates"]["objects"],
            "left_out": summary.repeated,
            "ended_at_repeats": summary.stopped,
            "cut_off": metrics["parse"]["finish_reason"].get("length", 0),
            "F1@0.5": round(metrics["f1"]["F1@0.5"], 4),
            "recall@0.5": round(metrics["f1"]["recall@0.5"], 4),
            "AP": round(metrics["bbox"]["AP"], 4),
            "passes": asked.passes,
            "cpu_seconds": round(asked.seconds, 1),
        }
        print(predictor.path, name, found[name], flush=True)
    return found


class Counting:
    """Asks a model, remembers the answers, and counts what they took.

    Args:
        predictor: The model.
        stop: What ends its answers.
    """

    def __init__(self, predictor: Predictor, stop: RepeatStop | None) -> None:
        self.asking = AskOptions(
            constrain=True, restrict_to=None, max_new_tokens=LONGEST, stop=stop
        )
        self._ask = build_ask(predictor, self.asking)
        self._known: dict[bytes, Answer] = {}
        self.passes = 0
        self.seconds = 0.0

    def __call__(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers; what was asked before is not asked again."""
        pictures = [question.picture.tobytes() for question in questions]
        if not self._known.keys() >= set(pictures):
            began = time.process_time()
            answers = self._ask(questions)
            self.seconds += time.process_time() - began
            self.passes += sum(answer.passes for answer in answers)
            self._known |= dict(zip(pictures, answers, strict=True))
        return [self._known[picture] for picture in pictures]


if __name__ == "__main__":
    main()
