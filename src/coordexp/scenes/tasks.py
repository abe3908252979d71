"""The tasks of a study: what is asked, and pictures that the same seed makes again.

    <directory>/train.jsonl     images/train_*.png
    <directory>/heldout.jsonl   images/heldout_*.png

Training pictures of a smaller size are the first of a larger one. A study draws new training
pictures for each seed and asks everybody about the same held-out ones, so that answers can be
compared picture by picture.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from coordexp.data.files.jsonl import write_jsonl
from coordexp.files import whole_directory
from coordexp.scenes.canvas import Named, Picture
from coordexp.scenes.digits import CLASS_NAMES, MAX_OBJECTS, SceneComposer, Split
from coordexp.scenes.icons import IconPainter
from coordexp.scenes.numbers import NumberPainter
from coordexp.scenes.tree_crowns import CrownPainter, missing_crowns

Paint = Callable[[np.random.Generator], Picture]


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of pictures and what is asked about them.

    Args:
        painter: Returns what paints the pictures of a split.
        prompt: The question.
        stream: Keeps the pictures of two tasks with one seed apart.
        missing: Returns what keeps it from being painted here and what to do, or None.
    """

    painter: Callable[[Split], Paint]
    prompt: str
    stream: int
    missing: Callable[[], str | None] = lambda: None


def _digit_painter(split: Split) -> Paint:
    composer = SceneComposer(split)

    def paint(rng: np.random.Generator) -> Picture:
        scene = composer.compose(rng, count=int(rng.integers(1, MAX_OBJECTS + 1)))
        things = [Named(name=CLASS_NAMES[digit.label], box=digit.box) for digit in scene.digits]
        return Picture(image=scene.image, things=tuple(things))

    return paint


TASKS: Mapping[str, Task] = {
    "known": Task(painter=_digit_painter, prompt="Find every digit.", stream=1),
    "new-looks": Task(
        painter=lambda split: IconPainter(split).paint, prompt="Find every object.", stream=2
    ),
    "new-convention": Task(
        painter=lambda split: NumberPainter(split).paint, prompt="Find every number.", stream=3
    ),
    "tree-crowns": Task(
        painter=lambda split: CrownPainter(split).paint,
        prompt="Find every tree.",
        stream=4,
        missing=missing_crowns,
    ),
}


def pictures_of(task: Task, split: Split, *, seed: int) -> Iterator[Picture]:
    """Yield pictures of a split without end; seed and split alone decide which."""
    paint = task.painter(split)
    rng = np.random.default_rng([seed, task.stream, 0 if split == "train" else 1])
    while True:
        yield paint(rng)


def write_task(
    directory: Path, task: Task, *, train: int, heldout: int, seed: int, heldout_seed: int
) -> None:
    """Write training and held-out pictures with their records; the directory appears whole.

    Args:
        directory: Must not exist.
        task: What to paint.
        train: Training pictures.
        heldout: Held-out pictures, the same for every seed.
        seed: Of the training pictures.
        heldout_seed: Of the held-out ones.
    """
    with whole_directory(directory, overwrite=False) as unfinished:
        (unfinished / "images").mkdir()
        _write_split(unfinished, task, "train", count=train, seed=seed)
        _write_split(unfinished, task, "heldout", count=heldout, seed=heldout_seed)


def _write_split(directory: Path, task: Task, split: Split, *, count: int, seed: int) -> None:
    pictures = pictures_of(task, split, seed=seed)

    def paint(number: int) -> dict[str, object]:
        picture = next(pictures)
        name = f"images/{split}_{number:06d}.png"
        Image.fromarray(picture.image).save(directory / name)
        return picture.to_record(name)

    write_jsonl(directory / f"{split}.jsonl", map(paint, range(1, count + 1)))
