"""Measure what tells copies of a picture from other pictures, which `data split` keeps together.

    python benchmarks/lookalikes.py            1,500 painted scenes, half a minute of one core
    python benchmarks/lookalikes.py --quick    20

Correlations of small grey pictures, as `coordexp data split` computes them: of 200 scenes with
their copies (half the size, 0.7 of the contrast, a JPEG of quality 25, a fifth brighter, which
turns light parts white), and the most alike pair of scenes that differ. CPU seconds of comparing
20,000 looks, all pairs. Results go to `results/lookalikes-<machine>.json`.
"""

import argparse
import io
import json
import time
from collections.abc import Mapping
from itertools import islice

import numpy as np
from PIL import Image, ImageEnhance
from results import processor, results_path, write_results

from coordexp.data.split.lookalikes import alike_pairs, look_of
from coordexp.scenes.tasks import TASKS, pictures_of


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    quick = parser.parse_args().quick
    scenes, copied, compared = (20, 5, 200) if quick else (1_500, 200, 20_000)
    painted = pictures_of(TASKS["new-looks"], "train", seed=0)
    pictures = [Image.fromarray(picture.image) for picture in islice(painted, scenes)]
    looks = np.stack([seen(picture) for picture in pictures])
    likeness = looks @ looks.T
    np.fill_diagonal(likeness, -1)
    found: dict[str, list[float]] = {}
    for picture, look in zip(pictures[:copied], looks, strict=False):
        for name, copy in copies(picture).items():
            found.setdefault(name, []).append(float(look @ seen(copy)))
    figures = {
        "machine": processor(),
        "scenes": scenes,
        "most alike of two scenes": float(likeness.max()),
        "copies": {
            name: {"least": min(values), "5th percentile": float(np.quantile(values, 0.05))}
            for name, values in found.items()
        },
        f"CPU seconds of {compared} looks": seconds_of_all_pairs(compared),
    }
    print(json.dumps(figures, indent=1))
    if not quick:
        write_results(results_path("lookalikes"), figures)


def seen(picture: Image.Image) -> np.ndarray:
    """Return what a picture looks like; a painted scene is never a single grey."""
    look = look_of(picture.convert("L"))
    assert look is not None
    return look


def copies(picture: Image.Image) -> Mapping[str, Image.Image]:
    """Return copies of a picture by what was done to it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=25)
    return {
        "half the size": picture.resize((picture.width // 2, picture.height // 2)),
        "0.7 of the contrast": ImageEnhance.Contrast(picture).enhance(0.7),
        "JPEG of quality 25": Image.open(file),
        "a fifth brighter": ImageEnhance.Brightness(picture).enhance(1.2),
    }


def seconds_of_all_pairs(count: int) -> float:
    """Return the CPU seconds of finding alike pairs among random looks."""
    table = np.random.default_rng(0).normal(size=(count, 256)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    began = time.process_time()
    list(alike_pairs(list(table), 0.97))
    return time.process_time() - began


if __name__ == "__main__":
    main()
