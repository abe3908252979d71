"""Measure what class lists are for: asked for what is not there, how often is it found?

    python benchmarks/classes.py --before MODEL --after MODEL --data heldout.jsonl --out DIR

BEFORE was trained without `custom.class_list`, AFTER with it, on the same records otherwise. For
each picture of the data one to three classes are drawn that are not on it. AFTER is asked for them
alone. BEFORE cannot be asked for anything; it says what it sees, and the objects of the drawn
classes are kept, which is what `predict --classes` does. Whatever is kept was invented. Both are
then asked for everything, for what that costs in recall. Minutes of one core for the pictures of
the quickstart; the result goes to `benchmarks/results/` with the machine's name.
"""

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from results import processor, results_path, write_results

from coordexp.answers.prediction_lines import RowOptions
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.contract.record import Record, record_to_json
from coordexp.data.files.jsonl import RecordFile, write_jsonl
from coordexp.errors import InputError
from coordexp.evaluation.evaluate import evaluate_predictions
from coordexp.inference.run.ask import AskOptions
from coordexp.inference.run.command import run_predict
from coordexp.inference.run.options import PredictOptions
from coordexp.inference.run.predictor import load_style

OPTIONS = PredictOptions(
    batch_size=8,
    asking=AskOptions(constrain=True, restrict_to=None, max_new_tokens=512),
    rows=RowOptions(),
    overwrite=True,
)
MOST_ABSENT = 3


def main() -> None:
    """Ask both models, print what they say, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--before", "--after", "--data", "--out"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    records = list(RecordFile(given.data, SPEC_ALPHABET))
    absent = drawn_classes(records)
    found = {
        "pictures": len(records),
        "absent classes asked for": sum(map(len, absent)),
        "before": {
            **everything(given.before, given.data, given.out / "before.jsonl"),
            "absent": invented(given.out / "before.jsonl", absent),
        },
        "after": {
            **everything(given.after, given.data, given.out / "after.jsonl"),
            "absent": invented(asked_for_absent(given, records, absent), absent),
        },
    }
    print(json.dumps(found, indent=1))
    out = results_path("classes")
    write_results(out, {"machine": processor(), **found})
    print(out)


def drawn_classes(records: list[Record]) -> list[list[str]]:
    """Return the absent classes that each picture is asked for."""
    classes = sorted({item.desc for record in records for item in record.objects})
    draw = random.Random(0)
    drawn = []
    for record in records:
        there = {item.desc for item in record.objects}
        others = [name for name in classes if name not in there]
        drawn.append(draw.sample(others, min(len(others), draw.randint(1, MOST_ABSENT))))
    return drawn


def everything(model: Path, data: Path, out: Path) -> dict[str, Any]:
    """Return the figures of a model that is asked for all there is."""
    run_predict(model, data, out, OPTIONS)
    metrics = evaluate_predictions(out, out.with_suffix(""))
    figures = metrics["f1"]
    names = ("recall@0.5", "precision@0.5", "F1@0.5")
    return {"AP": metrics["bbox"]["AP"], **{name: figures[name] for name in names}}


def asked_for_absent(
    given: argparse.Namespace, records: list[Record], absent: list[list[str]]
) -> Path:
    """Return the predictions of the model of class lists, each picture asked for its own."""
    style = load_style(given.after)
    if style.class_prompt is None:
        raise InputError(f"{given.after}: was trained without custom.class_list")
    asked = [
        replace(record, prompt=style.question_for(names))
        for record, names in zip(records, absent, strict=True)
    ]
    path = given.data.with_name("asked-for-absent.jsonl")
    if path.exists():
        raise InputError(f"{path}: is there already; remove it")
    out: Path = given.out / "absent.jsonl"
    try:
        write_jsonl(path, [record_to_json(record, SPEC_ALPHABET) for record in asked])
        run_predict(given.after, path, out, OPTIONS)
    finally:
        path.unlink(missing_ok=True)
    return out


def invented(predictions: Path, absent: list[list[str]]) -> dict[str, Any]:
    """Return how often absent classes were found."""
    lines = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    kept = [
        [item["desc"] for item in line["pred"] if item["desc"] in names]
        for line, names in zip(lines, absent, strict=True)
    ]
    classes = sum(len(set(descs)) for descs in kept)
    return {
        "objects": sum(map(len, kept)),
        "pictures with one": sum(map(bool, kept)) / len(kept),
        "classes found": classes / sum(map(len, absent)),
        "objects of classes that were not asked for": sum(len(line["pred"]) for line in lines)
        - sum(map(len, kept)),
    }


if __name__ == "__main__":
    main()
