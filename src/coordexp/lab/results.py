"""The results file: one JSON line for every run that has ended, well or not."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coordexp.config.yaml_file import YamlMapping

Key = tuple[str, str, int, str, int, str]


@dataclass(frozen=True, slots=True)
class Line:
    """One run.

    Args:
        study: Name of the study.
        task: Name of the task.
        size: Training pictures.
        recipe: Name of the recipe.
        seed: Of training and of its pictures.
        base: Name of the base.
        heldout: Pictures it was asked about.
        digest: Of the recipe's configuration: another digest is another recipe.
        commit: Of the source, `+` after it where files differed from it.
        cost: CPU seconds and memory by stage.
        figures: By way of answering; empty where the run failed.
        problem: Why it failed, or None.
    """

    study: str
    task: str
    size: int
    recipe: str
    seed: int
    base: str
    heldout: int
    digest: str
    commit: str | None
    cost: Mapping[str, Mapping[str, float]]
    figures: Mapping[str, Any]
    problem: str | None

    @property
    def key(self) -> Key:
        """What a later line of the same run replaces it by."""
        return self.study, self.task, self.size, self.recipe, self.seed, self.digest

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Line":
        """Return the line that `to_json` wrote."""
        return cls(**json.loads(text))


def arm_name(recipe: str, answer: str) -> str:
    """Return what is compared: a recipe, and after a slash how it is asked, unless by token."""
    return recipe if answer == "token" else f"{recipe}/{answer}"


def recipe_digest(config: YamlMapping) -> str:
    """Return a short digest of a recipe's configuration."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def append_line(path: Path, line: Line) -> None:
    """Add a line to a results file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = (line.to_json() + "\n").encode("utf-8")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_lines(path: Path) -> dict[Key, Line]:
    """Return the last line of every run in a results file; nothing where there is none."""
    if not path.exists():
        return {}
    lines = [Line.from_json(text) for text in path.read_text(encoding="utf-8").splitlines() if text]
    return {line.key: line for line in lines}
