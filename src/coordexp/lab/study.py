"""A study: which recipes, on which tasks and sizes, with which seeds.

    out: runs/study
    extends: [tiny.yaml]                what every run shares, an ordinary configuration
    bases:
      plain: {path: tiny}
      expanded: {path: tiny, expand: true}
    recipes:
      integers: {base: plain, extends: [integers.yaml]}
      soft: {base: expanded, extends: [../configs/presets/soft.yaml]}
    tasks:
      cars: {train: cars/train.jsonl, heldout: cars/val.jsonl, prompt: Find every car.}
    arms:
      - {recipes: [integers, soft], tasks: [new-looks], sizes: [500, 3600], seeds: [0, 1, 2]}
      - {recipes: [integers, soft], tasks: [cars], sizes: [1000], seeds: [0]}

`coordexp.lab.study_file` has every key.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from pydantic import ValidationError

from coordexp.config.load import check_config
from coordexp.config.yaml_file import YamlMapping, load_extended_yaml, load_yaml, merged
from coordexp.errors import ConfigError
from coordexp.lab.results import recipe_digest
from coordexp.lab.study_file import Grafting, Recipe, Study
from coordexp.lab.study_problems import find_study_problems, task_names
from coordexp.scenes.tasks import TASKS


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
        shared: What every run shares, as a configuration.
        configs: Of each recipe, without what differs from run to run.
        grafts: What each grafted base is trained with, by its name; None trains nothing.
        cells: All runs, each once, in their order.
    """

    study: Study
    name: str
    shared: YamlMapping
    configs: Mapping[str, YamlMapping]
    grafts: Mapping[str, Path | None]
    cells: tuple[Cell, ...]

    def digest(self, recipe: str) -> str:
        """Return what another recipe under the same name would differ in."""
        config = self.configs[recipe]
        return recipe_digest(config if self.study.recipes[recipe].train else {"asked as": config})

    def question(self, task: str) -> str | None:
        """Return what is asked about the pictures of a task; None leaves it to the recipe."""
        own = self.study.tasks.get(task)
        return TASKS[task].prompt if own is None else own.prompt


def load_plan(path: Path) -> Plan:
    """Return the runs that a study file asks for; configurations and records are checked.

    Raises:
        ConfigError: With all that is wrong, by dotted path.
    """
    try:
        study = Study.model_validate_json(json.dumps(load_yaml(path)))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise _refused(path, problems) from None
    problems = list(find_study_problems(study))
    shared: YamlMapping = {}
    configs: dict[str, YamlMapping] = {}
    grafts: dict[str, Path | None] = {}
    with _noted(problems):
        shared = _laid_over({}, study.extends, path)
        for name, recipe in study.recipes.items():
            with _noted(problems):
                configs[name] = _recipe_config(name, recipe, shared, path)
    for name, base in study.bases.items():
        if base.graft is not None:
            with _noted(problems):
                grafts[name] = _graft_config(name, base.graft, path)
    if problems:
        raise _refused(path, problems)
    return Plan(
        study=study,
        name=path.stem,
        shared=shared,
        configs=configs,
        grafts=grafts,
        cells=_in_order(_cells(study), study),
    )


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Note what is wrong and go on behind the block, so that all of it is told at once."""
    try:
        yield
    except ConfigError as error:
        problems.append(str(error))


def _refused(path: Path, problems: Sequence[str]) -> ConfigError:
    lines = "".join("\n" + indent(problem, "  ") for problem in problems)
    return ConfigError(f"{path}: {len(problems)} problem(s){lines}")


def _recipe_config(name: str, recipe: Recipe, shared: YamlMapping, path: Path) -> YamlMapping:
    config = merged(_laid_over(shared, recipe.extends, path), recipe.config)
    check_config(merged(config, _STAND_INS), name=f"recipes.{name}")
    return config


def _graft_config(name: str, graft: Grafting, path: Path) -> Path | None:
    """Return the checked configuration of a graft's training; None where nothing is trained."""
    if graft.config is None:
        return None
    tokens: YamlMapping = {"custom": {"coord_tokens": {"enabled": True}}}
    config = _laid_over(tokens, (graft.config,), path)
    check_config(merged(config, _STAND_INS), name=f"bases.{name}.graft.config")
    return path.parent / graft.config


_STAND_INS: YamlMapping = {
    "model": {"path": "?"},
    "training": {"output_dir": "?"},
    "data": {"train": "?"},
}


def _cells(study: Study) -> set[Cell]:
    return {
        Cell(seed=seed, task=task, size=size, recipe=recipe)
        for arm in study.arms
        for recipe in arm.recipes
        for task in arm.tasks
        for size in arm.sizes
        for seed in arm.seeds
    }


def _in_order(cells: set[Cell], study: Study) -> tuple[Cell, ...]:
    """Order by seed, then as the file names tasks, sizes and recipes: breadth before depth."""
    recipes = list(study.recipes)
    tasks = task_names(study)
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
            raise ConfigError(f"extends: no such file: {file}")
        config = merged(config, load_extended_yaml(file))
    return config
