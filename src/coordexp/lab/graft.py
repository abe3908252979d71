"""The graft: coord tokens taught what a base already says in digits, once for a base.

A base has spent its pretraining on writing numbers as digits. Fresh coord rows know nothing of
that, and a task that is learned with them pays for learning to point all over again. So, before
any task, the base is asked about pictures of any kind, its own answers become records, and coord
tokens are trained on those. No labels are needed, and nothing is learned but another spelling.

    DST.work/answers.jsonl      what the base says, in integers
    DST.work/pictures/          the pictures, as hard links where the disk allows it
    DST.work/train.jsonl, heldout.jsonl     the answers as records
    DST.work/fitted/            the base with coord tokens, fitted to what it knows
    DST.work/train.yaml, checkpoint/        an ordinary training, where one is asked for
    DST.work/grafted.jsonl      what the grafted base says of the held-out pictures
    DST/                        the grafted base, with its figures in `graft.json`

Every stage is a `coordexp` command, and a graft that was killed goes on. Answers that cannot be
read are left out and counted. Pictures that the base sees wrongly are taught wrongly: what is
passed on is the base's opinion, its mistakes included, so the pictures should be of a kind that it
knows.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from coordexp.config.load import check_config
from coordexp.config.yaml_file import YamlMapping, load_extended_yaml, merged
from coordexp.data.contract.geometry import bounding_box
from coordexp.data.files.jsonl import write_jsonl
from coordexp.errors import InputError
from coordexp.evaluation.evaluate import EvaluateOptions, compute_figures
from coordexp.evaluation.measure.predictions import Prediction, read_predictions
from coordexp.evaluation.measure.scored_objects import ScoredObject
from coordexp.files import check_writable, whole_directory, write_text
from coordexp.lab.links import link_file
from coordexp.lab.stages import StageBook, StageProcesses
from coordexp.model.card import load_card_section
from coordexp.rendering.style import RenderingStyle, style_from_json

FIGURES = "graft.json"
HELDOUT_EVERY = 10
"""Every tenth picture is kept for the figures."""

_PICTURES = "pictures"


@dataclass(frozen=True, slots=True)
class GraftOptions:
    """How a graft is made.

    Args:
        config: A YAML file with what learns and how fast; base, records and style are the graft's.
            None fits the rows and trains nothing.
        batch_size: Pictures that are asked about at once.
        max_new_tokens: The longest answer.
    """

    config: Path | None
    batch_size: int
    max_new_tokens: int


def graft(base: Path, pictures: Path, dst: Path, options: GraftOptions) -> dict[str, Any]:
    """Write the grafted base and return its figures.

    Args:
        base: A checkpoint that answers in integers, with its `coordexp.json`.
        pictures: JSONL of records, whose objects are not read, or a folder of pictures.
        dst: The grafted base; it appears when it is complete.
        options: How.

    Raises:
        InputError: If `base` does not answer in integers, `dst` exists, or too few of its answers
            can be read.
        CoordExpError: If a stage fails.
    """
    check_writable(dst, overwrite=False)
    style = style_from_json(load_card_section(base, "style"))
    if style.coord_tokens:
        raise InputError(f"{base}: answers in coord tokens already; a graft starts from integers")
    config = None if options.config is None else _config(options.config, style)
    work = dst.with_name(dst.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    book = StageBook(work, StageProcesses(os.environ))
    asking = ["--batch-size", str(options.batch_size)]
    asking += ["--max-new-tokens", str(options.max_new_tokens)]
    answers = work / "answers.jsonl"
    book.run("ask", ["predict", "--model", base, "--data", pictures, "--out", answers, *asking])
    counts = _write_records(read_predictions(answers), pictures, work)
    fitted = work / "fitted"
    fitting = ["--batch-size", str(options.batch_size), "--overwrite"]
    book.run("fit", ["vocab", "fit", base, work / "train.jsonl", fitted, *fitting])
    weights = fitted if config is None else _trained(book, config, work)
    grafted = work / "grafted.jsonl"
    heldout = work / "heldout.jsonl"
    book.run("check", ["predict", "--model", weights, "--data", heldout, "--out", grafted, *asking])
    figures = {
        "pictures": counts,
        "agreement": _figures(grafted),
        **_against_truth(answers, grafted, work),
        "cost": {name: asdict(cost) for name, cost in book.costs.items()},
    }
    _write_base(weights, dst, figures)
    return figures


def _trained(book: StageBook, config: YamlMapping, work: Path) -> Path:
    """Train the fitted base on its own answers; return the folder of the whole model."""
    run: YamlMapping = {
        "model": {"path": str(work / "fitted")},
        "data": {"train": str(work / "train.jsonl")},
        "training": {"output_dir": str(work / "checkpoint")},
    }
    write_text(work / "train.yaml", yaml.safe_dump(merged(config, run), sort_keys=False))
    book.run("train", ["train", "--config", work / "train.yaml"])
    if not (work / "checkpoint" / "adapter_config.json").exists():
        return work / "checkpoint"
    book.run("merge", ["merge", work / "checkpoint", work / "merged"])
    return work / "merged"


def _config(path: Path, style: RenderingStyle) -> YamlMapping:
    """Return the configuration of the training, but for its paths: it asks as the base was asked.

    Raises:
        ConfigError: With what is wrong.
    """
    asked: YamlMapping = {
        "custom": {
            "coord_tokens": {"enabled": True},
            "system_prompt": style.system_prompt,
            "user_prompt": style.user_prompt,
            "json_format": style.json_format,
            "object_ordering": style.object_ordering,
        },
        "data": {"min_pixels": style.min_pixels, "max_pixels": style.max_pixels},
    }
    config = merged(load_extended_yaml(path), asked)
    places: YamlMapping = {
        "model": {"path": "?"},
        "training": {"output_dir": "?"},
        "data": {"train": "?"},
    }
    check_config(merged(config, places), name=str(path))
    return config


def _write_records(answers: Sequence[Prediction], pictures: Path, work: Path) -> Mapping[str, int]:
    """Write the answers as records of two files and return how many there are.

    Raises:
        InputError: If no answer, or no object, is left to learn from.
    """
    root = pictures if pictures.is_dir() else pictures.parent
    kept = [row for row in answers if row.status == "ok"]
    for row in kept:
        link_file(root / row.image, work / _PICTURES / row.image)
    heldout = kept[::HELDOUT_EVERY]
    train = [row for number, row in enumerate(kept) if number % HELDOUT_EVERY]
    counts = {
        "asked": len(answers),
        "left_out": len(answers) - len(kept),
        "train": len(train),
        "heldout": len(heldout),
        "objects": sum(_is_visible(item) for row in train for item in row.predicted),
    }
    if not counts["objects"]:
        raise InputError(
            f"{pictures}: the base's answers name no object that could be learned from "
            f"({counts['asked']} answers, {counts['left_out']} of them unreadable)"
        )
    write_jsonl(work / "train.jsonl", map(_record, train))
    write_jsonl(work / "heldout.jsonl", map(_record, heldout))
    return counts


def _record(row: Prediction) -> dict[str, Any]:
    return {
        "images": [f"{_PICTURES}/{row.image}"],
        "width": row.width,
        "height": row.height,
        "objects": [_object(item) for item in row.predicted if _is_visible(item)],
    }


def _is_visible(item: ScoredObject) -> bool:
    """Return whether an object is a point, or has area: a base may write a corner twice."""
    if item.geometry.rules.form == "place":
        return True
    x1, y1, x2, y2 = bounding_box(item.geometry.values)
    return x1 < x2 and y1 < y2


def _object(item: ScoredObject) -> dict[str, Any]:
    return {"desc": item.desc, item.geometry.kind: list(item.geometry.values)}


def _against_truth(answers: Path, grafted: Path, work: Path) -> dict[str, Any]:
    """Return the figures of base and graft on the held-out pictures, where these have labels."""
    shown = {row.image.removeprefix(f"{_PICTURES}/") for row in read_predictions(grafted)}
    told = {json.loads(line)["image"]: json.loads(line) for line in _lines(answers)}
    if not any(told[image]["gt"] for image in shown):
        return {}
    said = [json.loads(line) for line in _lines(grafted)]
    for row in said:
        row["gt"] = told[row["image"].removeprefix(f"{_PICTURES}/")]["gt"]
    base, graft_ = work / "base_against_truth.jsonl", work / "grafted_against_truth.jsonl"
    write_jsonl(base, (row for image, row in told.items() if image in shown))
    write_jsonl(graft_, said)
    return {"base": _figures(base), "grafted": _figures(graft_)}


def _lines(path: Path) -> Iterable[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _figures(predictions: Path) -> dict[str, Any]:
    metrics = compute_figures(predictions, EvaluateOptions()).metrics
    bbox, f1 = metrics["bbox"], metrics["f1"]
    return {
        **{name: bbox[name] for name in ("AP", "AP50", "AP75")},
        **{name: f1[name] for name in ("F1@0.5", "F1@mIoU", "mean_best_iou_any_class")},
    }


def _write_base(weights: Path, dst: Path, figures: Mapping[str, Any]) -> None:
    with whole_directory(dst, overwrite=False) as unfinished:
        for path in sorted(weights.iterdir()):
            if path.is_file() and path.name not in _NOT_OF_A_BASE:
                shutil.copyfile(path, unfinished / path.name)
        write_text(unfinished / FIGURES, json.dumps(figures, indent=2) + "\n")


_NOT_OF_A_BASE = {
    "train_log.jsonl",
    "data.json",
    "optimizer_groups.json",
    "coord_offset.pt",
    "training_args.bin",
    "config.yaml",
}
"""Of a run with whole weights: what tells of the run and not of the model."""
