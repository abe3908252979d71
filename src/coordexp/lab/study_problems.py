"""Everything in a study file that cannot be done, before anything is."""

from collections.abc import Iterator, Sequence

from coordexp.lab.own_task import find_record_problems
from coordexp.lab.study_file import Study
from coordexp.scenes.tasks import TASKS


def task_names(study: Study) -> list[str]:
    """Return the tasks that a study may name: the generated ones, then its own."""
    return list(dict.fromkeys([*TASKS, *study.tasks]))


def find_study_problems(study: Study) -> Iterator[str]:
    """Yield what is wrong between the blocks of a study, and on disk; each behind its key.

    What a recipe's configuration says is not looked at.
    """
    yield from _broken_links(study)
    yield from _broken_bases(study)
    yield from _broken_tasks(study)


def _broken_links(study: Study) -> Iterator[str]:
    """Yield every name that names nothing."""
    recipes, tasks = list(study.recipes), task_names(study)
    for name, recipe in study.recipes.items():
        yield from _unknown(f"recipes.{name}.base", (recipe.base,), list(study.bases))
    yield from _unknown("against", study.against, recipes)
    for number, arm in enumerate(study.arms):
        yield from _unknown(f"arms.{number}.recipes", arm.recipes, recipes)
        yield from _unknown(f"arms.{number}.tasks", arm.tasks, tasks)
    for name, base in study.bases.items():
        if base.graft is not None:
            yield from _unknown(f"bases.{name}.graft.task", (base.graft.task,), tasks)


def _broken_bases(study: Study) -> Iterator[str]:
    for name, base in study.bases.items():
        if base.expand and base.graft is not None:
            yield f"bases.{name}: expand and graft both give it coord tokens; keep one of them"


def _broken_tasks(study: Study) -> Iterator[str]:
    for name, task in study.tasks.items():
        if name in TASKS:
            yield f"tasks.{name}: a generated task has this name; choose another"
            continue
        train = max(_sizes(study, name), default=0)
        yield from find_record_problems(name, task, train=train, heldout=study.heldout)
    for name, generated in TASKS.items():
        if list(_sizes(study, name)) and (missing := generated.missing()):
            yield f"tasks: {name}: {missing}"


def _sizes(study: Study, task: str) -> Iterator[int]:
    """Yield every number of training pictures that a study draws from a task."""
    for arm in study.arms:
        if task in arm.tasks:
            yield from arm.sizes
    for base in study.bases.values():
        if base.graft is not None and base.graft.task == task:
            yield base.graft.size


def _unknown(key: str, names: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in known:
            yield f"{key}: {name!r} is not one of {', '.join(known)}"
