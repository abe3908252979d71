"""A run of the quickstart that never happened, for looking at its page."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from coordexp.coord_tokens.codec import SPEC_ALPHABET, pixel_to_bin
from coordexp.data.files.jsonl import write_jsonl
from coordexp.evaluation.evaluate import evaluate_predictions
from coordexp.quickstart.contender import load_contender
from coordexp.quickstart.own_data import own_commands
from coordexp.quickstart.report import QuickstartReportInputs

SIDE, SCENES = 128, 8
RUNS = {"base": 30.0, "integers": 4.0, "coord": 2.0}
"""How far off the boxes of each are, in pixels."""


def write_scene(path: Path, random: np.random.Generator) -> list[dict[str, object]]:
    """Write a picture of digits on a soft ground and return its objects."""
    ground = Image.fromarray(random.integers(40, 200, (8, 8, 3), dtype=np.uint8), "RGB")
    picture = ground.resize((SIDE, SIDE), Image.Resampling.BICUBIC).filter(
        ImageFilter.GaussianBlur(2)
    )
    pen = ImageDraw.Draw(picture)
    objects = []
    for cell in random.permutation(4)[: random.integers(1, 5)].tolist():
        size = int(random.integers(22, 48))
        x, y = (64 * k + int(random.integers(0, 64 - size)) for k in divmod(cell, 2))
        desc = str(random.integers(10))
        pen.rectangle((x, y, x + size, y + size), fill="#f4f1e6")
        pen.text((x + size / 2, y + size / 2), desc, "#222", anchor="mm", font_size=size)
        objects.append({"desc": desc, "bbox_2d": [x, y, x + size, y + size]})
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return objects


def shaken(
    objects: list[dict[str, object]], random: np.random.Generator, *, noise: float, scored: bool
) -> list[dict[str, object]]:
    """Return predictions as a model of a given clumsiness would make them."""
    found = []
    for item in objects:
        box = np.clip(np.array(item["bbox_2d"]) + random.normal(0, noise, 4), 0, SIDE)
        corners = np.sort(box.reshape(2, 2), axis=0).reshape(4).round(2).tolist()
        right = random.random() > noise / 30
        score = float(random.uniform(0.5, 1) if right else random.uniform(0.2, 0.7))
        desc = item["desc"] if right else str(random.integers(10))
        found.append({"desc": desc, "bbox_2d": corners, "score": score if scored else 1.0})
    return found if random.random() > noise / 60 else found[:-1]


def write_run(folder: Path, truth: dict[str, list[dict[str, object]]], *, noise: float) -> Path:
    """Write what a run of the lab leaves, of a model of a given clumsiness."""
    random = np.random.default_rng(int(noise))
    clumsy = noise > 9
    rows = []
    for number, (image, objects) in enumerate(truth.items()):
        broken = clumsy and number % 3 == 1
        lost = [{"reason": "not a box", "text": '{"desc": "4", "bb'}] if broken else []
        rows.append(
            {
                "root": "../../../data",
                "image": image,
                "width": SIDE,
                "height": SIDE,
                "gt": objects,
                "pred": shaken(objects, random, noise=noise, scored=not clumsy),
                "raw_text": "{}",
                "tokens": [["{", 1.0], ["}", 0.9]],
                "parse": {"status": "salvaged" if broken else "ok", "dropped": lost},
                "finish_reason": "length" if broken else "eos",
            }
        )
    write_jsonl(folder / "token" / "predictions.jsonl", rows)
    evaluate_predictions(folder / "token" / "predictions.jsonl", folder / "token")
    spent = {"train": 0.0 if clumsy else 171.4, "predict token": 12.3}
    costs = {
        name: {"cpu_seconds": seconds, "wall_seconds": seconds, "peak_mb": 1240.5}
        for name, seconds in spent.items()
        if seconds
    }
    (folder / "stages.json").write_text(json.dumps(costs))
    if not clumsy:
        write_train_log(folder / "checkpoint" / "train_log.jsonl", coord=folder.name == "coord")
    return folder


def write_train_log(path: Path, *, coord: bool, steps: int = 300) -> Path:
    random = np.random.default_rng(7)
    rows = []
    for step in range(1, steps + 1):
        fall = float(np.exp(-step / 80)) * (1 + 0.12 * random.normal())
        row = {
            "step": step,
            "learning_rate": 2e-4 * min(1, step / 20) * (1 - step / steps / 1.1),
            "base_ce/loss": 0.05 + 2.4 * fall,
            "lr/language": 2e-4 * min(1, step / 20) * (1 - step / steps / 1.1),
            "coord_diag/enabled": float(coord),
            "coord_diag/loss": (2.9 + 9 * fall) * coord,
            "coord_diag/soft_ce": 2.4 + 4.2 * fall,
            "coord_diag/w1": 0.02 + 0.2 * fall,
            "coord_diag/gate": 0.003 + 4 * fall**2,
            "coord_diag/coord_vocab_mass": float(np.exp(-0.003 - 4 * fall**2)),
        }
        rows.append(row | {"loss": row["base_ce/loss"] + row["coord_diag/loss"]})
    write_jsonl(path, rows)
    return path


def write_distributions(path: Path, truth: dict[str, list[dict[str, object]]]) -> Path:
    random = np.random.default_rng(3)
    bins = np.arange(SPEC_ALPHABET.bins)
    rows = []
    for image, objects in list(truth.items())[:4]:
        width = float(random.uniform(5, 40))
        for axis, value in zip(("x1", "y1", "x2", "y2"), objects[0]["bbox_2d"], strict=True):
            true_bin = pixel_to_bin(value, SIDE, SPEC_ALPHABET)
            centre = true_bin + random.normal(0, width / 2)
            probs = np.exp(-0.5 * ((bins - centre) / width) ** 2)
            probs += 0.3 * np.exp(-0.5 * ((bins - 700) / 20) ** 2) * (axis == "x2")
            rows.append(
                {
                    "image": image,
                    "root": "data",
                    "object": objects[0]["desc"],
                    "axis": axis,
                    "true_bin": true_bin,
                    "probs": (probs / probs.sum()).tolist(),
                    "size_px": SIDE,
                }
            )
    path.write_text(json.dumps(rows))
    return path


def write_graft(path: Path) -> Path:
    cost = {name: {"cpu_seconds": 100.0} for name in ("ask", "fit", "train", "check")}
    figures = {"AP": 0.91}
    content = {"pictures": {"asked": 3600}, "base": figures, "grafted": figures, "cost": cost}
    path.write_text(json.dumps(content))
    return path


def load_fake_run(folder: Path) -> QuickstartReportInputs:
    """Return what the page of a run would be made of."""
    base, integers, coord = (
        load_contender(name.capitalize(), folder / "runs" / name, "token") for name in RUNS
    )
    return QuickstartReportInputs(
        base=base,
        integers=integers,
        coord=coord,
        training_pictures=1920,
        graft=folder / "graft.json",
        beliefs=folder / "beliefs.json",
        commands=own_commands(folder / "runs" / "coord" / "train.yaml"),
    )


def write_fake_run(folder: Path) -> QuickstartReportInputs:
    """Write everything that a run leaves behind."""
    random = np.random.default_rng(0)
    names = [f"images/{number:06d}.png" for number in range(1, SCENES + 1)]
    truth = {name: write_scene(folder / "data" / name, random) for name in names}
    for name, noise in RUNS.items():
        write_run(folder / "runs" / name, truth, noise=noise)
    write_distributions(folder / "beliefs.json", truth)
    write_graft(folder / "graft.json")
    return load_fake_run(folder)
