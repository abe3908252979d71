"""A study: which recipes, on which tasks and sizes, with which seeds.

    out: runs/study
    extends: [tiny.yaml]                what every run shares, an ordinary configuration
    bases:
      plain: {path: tiny}
      expanded: {path: tiny, expand: true}
    recipes:
      integers: {base: plain, extends: [integers.yaml]}
      soft: {base: expanded, extends: [../configs/presets/soft.yaml]}
    arms:
      - {recipes: [integers, soft], tasks: [new-looks], sizes: [500, 3600], seeds: [0, 1, 2]}

Paths are relative to the file, but `out` and the paths of bases, which are relative to where the
command runs, as in every configuration.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from coordexp.config.block import Block, PositiveInt
from coordexp.config.load import check_config
from coordexp.config.yaml_file import YamlMapping, load_extended_yaml, load_yaml, merged
from coordexp.errors import ConfigError
from coordexp.lab.tasks import TASKS

TINY = "tiny"
"""The path that stands for the base which the package ships."""

Answer = Literal["token", "expectation"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Seed = Annotated[int, Field(ge=0)]
SEVERAL = Field(min_length=1)


class Base(Block):
    """A model to start from."""

    path: str
    """A checkpoint, or `tiny` for the base that the package ships."""
    expand: bool = False
    """Give it coord tokens first, as `coordexp vocab expand` does."""


class Recipe(Block):
    """One way to train, and to ask afterwards."""

    base: Name
    """Under which name of `bases` it starts."""
    extends: tuple[str, ...] = ()
    """Configurations laid over the study's."""
    config: dict[str, object] = Field(default_factory=dict)
    """Keys laid over those."""
    answers: Annotated[tuple[Answer, ...], SEVERAL] = ("token",)
    """How coordinates are read from the trained model; each way is asked by itself."""


class Arm(Block):
    """Every recipe of a list on every task, size and seed of three others."""

    recipes: Annotated[tuple[Name, ...], SEVERAL]
    """Names of `recipes`."""
    tasks: Annotated[tuple[str, ...], SEVERAL]
    """Names of tasks; `coordexp.lab.tasks` has them."""
    sizes: Annotated[tuple[PositiveInt, ...], SEVERAL]
    """Numbers of training pictures."""
    seeds: Annotated[tuple[Seed, ...], SEVERAL]
    """Of training, and of the training pictures."""


class Study(Block):
    """What a study file says."""

    out: Path
    """Where pictures, bases and runs are."""
    results: Path | None = None
    """A JSON Lines file that gets a line for every run that ends."""
    against: tuple[Name, ...] = ()
    """Recipes that all others are compared with."""
    heldout: PositiveInt = 200
    """Held-out pictures of each task."""
    batch_size: PositiveInt = 20
    """Pictures that are asked about at once."""
    max_new_tokens: PositiveInt = 320
    """The longest answer."""
    extends: tuple[str, ...] = ()
    """What every run shares: ordinary configurations."""
    bases: dict[Name, Base]
    """Where recipes start."""
    recipes: dict[Name, Recipe]
    """What is compared."""
    arms: Annotated[tuple[Arm, ...], SEVERAL]
    """What is run."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One run of a study. Sorted cells finish one seed on all tasks before the next one."""

    seed: int
    task: str
    size: int
    recipe: str

    @property
    def folder(self) -> Path:
        """Where it lies below the study's runs."""
        return Path(self.task) / str(self.size) / self.recipe / f"seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A study that is ready to run.

    Args:
        study: What the file says.
        name: Of the study: its file's.
        configs: Of each recipe, without what differs from run to run.
        cells: All runs, each once, in their order.
    """

    study: Study
    name: str
    configs: Mapping[str, YamlMapping]
    cells: tuple[Cell, ...]


def load_plan(path: Path) -> Plan:
    """Return the runs that a study file asks for; every recipe's configuration is checked.

    Raises:
        ConfigError: With what is wrong, by dotted path.
    """
    raw = load_yaml(path)
    try:
        study = Study.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        lines = [_line(one["loc"], one["msg"]) for one in error.errors()]
        raise ConfigError(f"{path}: {len(lines)} problem(s)\n  " + "\n  ".join(lines)) from None
    if problems := list(_broken_links(study)):
        raise ConfigError(f"{path}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    shared = _laid_over({}, study.extends, path)
    configs = {}
    for name, recipe in study.recipes.items():
        config = merged(_laid_over(shared, recipe.extends, path), recipe.config)
        check_config(merged(config, _STAND_INS), name=f"{path}: recipes.{name}")
        configs[name] = config
    cells = {
        Cell(seed=seed, task=task, size=size, recipe=recipe)
        for arm in study.arms
        for recipe in arm.recipes
        for task in arm.tasks
        for size in arm.sizes
        for seed in arm.seeds
    }
    return Plan(study=study, name=path.stem, configs=configs, cells=_in_order(cells, study))


_STAND_INS: YamlMapping = {
    "model": {"path": "?"},
    "training": {"output_dir": "?"},
    "data": {"train": "?"},
}


def _in_order(cells: set[Cell], study: Study) -> tuple[Cell, ...]:
    """Order by seed, then as the file names tasks, sizes and recipes: breadth before depth."""
    recipes = list(study.recipes)
    tasks = list(TASKS)
    return tuple(
        sorted(
            cells,
            key=lambda cell: (
                cell.seed,
                tasks.index(cell.task),
                cell.size,
                recipes.index(cell.recipe),
            ),
        )
    )


def _laid_over(under: YamlMapping, names: tuple[str, ...], study: Path) -> YamlMapping:
    config = under
    for name in names:
        file = study.parent / name
        if not file.is_file():
            raise ConfigError(f"{study}: extends: no such file: {file}")
        config = merged(config, load_extended_yaml(file))
    return config


def _line(loc: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, loc))}: {message}"


def _broken_links(study: Study) -> Iterator[str]:
    """Yield every name that names nothing."""
    recipes = list(study.recipes)
    for name, recipe in study.recipes.items():
        yield from _unknown(f"recipes.{name}.base", (recipe.base,), list(study.bases))
    yield from _unknown("against", study.against, recipes)
    for number, arm in enumerate(study.arms):
        yield from _unknown(f"arms.{number}.recipes", arm.recipes, recipes)
        yield from _unknown(f"arms.{number}.tasks", arm.tasks, list(TASKS))


def _unknown(key: str, names: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{key}: {name!r} is not one of {', '.join(known)}"
