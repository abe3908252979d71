import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coordexp.evaluation.measure.categories import CategoryMatching, UnknownDescs
from coordexp.evaluation.measure.instances import Instances, collect_instances
from coordexp.evaluation.measure.matching import Matches, match
from coordexp.evaluation.measure.predictions import parse_prediction

SIZE = (200, 160)

Row = dict[str, Any]
Box = Sequence[float]


def make_row(
    gt: Iterable[tuple[str, Box]] = (),
    pred: Iterable[tuple[str, Box, float]] = (),
    *,
    image: str = "images/1.png",
    status: str = "ok",
    dropped: Iterable[str] = (),
    finish: str = "eos",
) -> Row:
    """Return one line of predictions.jsonl; truth as (desc, box), predictions with a score."""
    return {
        "root": ".",
        "image": image,
        "width": SIZE[0],
        "height": SIZE[1],
        "gt": [{"desc": desc, "bbox_2d": list(box)} for desc, box in gt],
        "pred": [{"desc": d, "bbox_2d": list(box), "score": score} for d, box, score in pred],
        "raw_text": "{}",
        "parse": {
            "status": status,
            "dropped": [{"reason": reason, "text": "?"} for reason in dropped],
        },
        "finish_reason": finish,
    }


def make_instances(
    rows: Iterable[Row], *, matching: CategoryMatching = "exact", unknown: UnknownDescs = "bucket"
) -> Instances:
    predictions = [parse_prediction(item) for item in rows]
    return collect_instances(predictions, matching=matching, unknown=unknown)


def make_random_rows(
    seed: int,
    *,
    images: int = 6,
    classes: int = 3,
    tied: bool = False,
    crowds: bool = False,
    federated: bool = False,
) -> list[Row]:
    """Return rows whose predictions are true boxes shaken, renamed, repeated or forgotten.

    With crowds, some true objects are one, some are ignored, and some say their area. A federated
    file was not searched for every class.
    """
    random = np.random.default_rng(seed)
    scores = iter(random.permutation(10_000) / 10_000)
    rows = []
    for number in range(images):
        gt, pred = [], []
        for _ in range(random.integers(0, 7)):
            corner = random.uniform(0, 100, 2)
            box = np.concatenate([corner, corner + random.uniform(2, 55, 2)])
            desc = f"class {random.integers(classes)}"
            gt.append((desc, box.tolist()))
            for _ in range(random.integers(0, 3)):
                shaken = np.clip(box + random.normal(0, 3, 4), 0, 155)
                corners = np.sort(shaken.reshape(2, 2), axis=0).reshape(4).tolist()
                guess = desc if random.random() < 0.8 else f"class {random.integers(classes + 1)}"
                pred.append((guess, corners, 1.0 if tied else next(scores)))
        rows.append(make_row(gt, pred, image=f"images/{number}.png"))
        for thing in rows[-1]["gt"] if crowds else ():
            lot = random.random()
            key, below = ("iscrowd", 0.3) if lot < 0.7 else ("ignore", 0.85)
            thing[key] = int(lot < below)
            if random.random() < 0.5:
                thing["area"] = float(random.uniform(0, 12_000))
        if federated:
            names = [f"class {k}" for k in range(classes + 1)]
            rows[-1]["federated"] = {
                "absent": [name for name in names if random.random() < 0.3],
                "not_exhaustive": [name for name in names if random.random() < 0.4],
                "frequency": {name: "rcf"[k % 3] for k, name in enumerate(names[1:])},
            }
    return rows


def make_matches(rows: Iterable[Row], *, unknown: UnknownDescs = "bucket") -> Matches:
    return match(make_instances(rows, unknown=unknown))


def write_predictions(path: Path, rows: Iterable[Row]) -> Path:
    """Write the rows, and a grey picture for each."""
    for item in rows:
        picture = path.parent / item["root"] / item["image"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (item["width"], item["height"]), "#667788").save(picture)
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in rows))
    return path
