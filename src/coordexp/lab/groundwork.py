"""What runs of a study share and what is made before them: bases and pictures."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from coordexp.config.load import check_config
from coordexp.config.yaml_file import YamlMapping, merged
from coordexp.errors import InputError
from coordexp.files import whole_directory
from coordexp.lab.own_task import write_own_task
from coordexp.lab.stages import StageBook, StageProcesses
from coordexp.lab.study import Plan
from coordexp.lab.study_file import Base, Grafting
from coordexp.lab.untrained import write_untrained
from coordexp.scenes.tasks import TASKS, write_task
from coordexp.tiny.shipped import SHIPPED, write_shipped_base


def prepare_data(plan: Plan, task: str, *, size: int, seed: int) -> Path:
    """Return the folder of some pictures of a task, made where it is not there yet."""
    folder = plan.study.out / "data" / task / str(size) / f"seed-{seed}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    write = (
        partial(write_task, folder, TASKS[task])
        if task in TASKS
        else partial(write_own_task, folder, plan.study.tasks[task])
    )
    heldout, heldout_seed = plan.study.heldout, plan.study.heldout_seed
    write(train=size, heldout=heldout, seed=seed, heldout_seed=heldout_seed)
    return folder


def asked(plan: Plan, task: str) -> YamlMapping:
    """Return what a task's question adds to a configuration."""
    question = plan.question(task)
    return {} if question is None else {"custom": {"user_prompt": question}}


def base_folder(plan: Plan, name: str) -> Path:
    """Return where a base of a plan lies."""
    base = plan.study.bases[name]
    return plan.study.out / "bases" / name if _is_made(base) else Path(base.path)


def prepare_bases(plan: Plan, runner: StageProcesses, *, say: Callable[[str], None]) -> None:
    """Make the bases that recipes of a plan start from, those that are not there yet.

    Args:
        plan: The study.
        runner: Starts the processes.
        say: Takes each command when it begins: a graft may take longer than a run.

    Raises:
        InputError: If one is not there and is none that is made.
        CoordExpError: If one cannot be expanded or grafted.
    """
    book_folder = plan.study.out / "bases"
    for name in sorted({plan.study.recipes[cell.recipe].base for cell in plan.cells}):
        base = plan.study.bases[name]
        if base.path not in SHIPPED and not Path(base.path).is_dir():
            raise InputError(f"bases.{name}.path: there is no folder {base.path}")
        folder = base_folder(plan, name)
        if folder.exists():
            continue
        book_folder.mkdir(parents=True, exist_ok=True)
        book = StageBook(book_folder, runner, say=say)
        if base.graft is None:
            _write_base(base, folder, book)
        else:
            _graft_base(plan, base, base.graft, folder, book)


def _is_made(base: Base) -> bool:
    return base.expand or base.graft is not None or base.path in SHIPPED


def _write_base(base: Base, folder: Path, book: StageBook) -> None:
    if not base.expand:
        with whole_directory(folder, overwrite=False) as unfinished:
            write_shipped_base(base.path, unfinished)
        return
    source = _source(base, folder)
    book.run(f"expand {folder.name}", ["vocab", "expand", source, folder], makes=folder)
    _forget_source(base, source)


def _graft_base(plan: Plan, base: Base, graft: Grafting, folder: Path, book: StageBook) -> None:
    """Write a grafted base; it is asked as an untrained recipe without coord tokens would be."""
    source = _source(base, folder)
    pictures = prepare_data(plan, graft.task, size=graft.size, seed=graft.seed) / "train.jsonl"
    integers: YamlMapping = {
        "model": {"path": str(source)},
        "training": {"output_dir": str(folder)},
        "data": {"train": str(pictures)},
        "custom": {"coord_tokens": {"enabled": False}},
    }
    config = merged(plan.shared, merged(integers, asked(plan, graft.task)))
    askable = folder.with_name(folder.name + ".asked")
    if not askable.exists():
        write_untrained(check_config(config, name=f"bases.{folder.name}"), askable)
    words: list[str | Path] = ["vocab", "graft", askable, pictures, folder]
    words += ["--batch-size", str(plan.study.batch_size)]
    words += ["--max-new-tokens", str(plan.study.max_new_tokens)]
    trained = plan.grafts[folder.name]
    words += [] if trained is None else ["--config", trained]
    book.run(f"graft {folder.name}", words, makes=folder)
    shutil.rmtree(askable)
    _forget_source(base, source)


def _source(base: Base, folder: Path) -> Path:
    """Return the folder of the base that another one is made of."""
    if base.path not in SHIPPED:
        return Path(base.path)
    source = folder.with_name(folder.name + ".source")
    shutil.rmtree(source, ignore_errors=True)
    write_shipped_base(base.path, source)
    return source


def _forget_source(base: Base, source: Path) -> None:
    if base.path in SHIPPED:
        shutil.rmtree(source)
