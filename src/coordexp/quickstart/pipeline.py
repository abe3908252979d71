"""The quickstart: a small study of the lab on things that the base has never seen, and its page.

    out/quickstart.json          says that the folder is a quickstart's, and of which study
    out/data/                    pictures: train.jsonl, heldout.jsonl, images/
    out/bases/                   the shipped base, and its graft
    out/runs/.../base/           what the base says of the held-out pictures, as it is
    out/runs/.../integers/       tuned: checkpoint/, merged/, and what it says
    out/runs/.../coord-tokens/   the same in coord tokens
    out/report.html              the page

Every stage is a `coordexp` command that reads the files which the one before it wrote. Two run at a
time, one core each. A quickstart that was killed goes on when it is started again.
"""

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.table import Table

from coordexp.config.yaml_file import YamlMapping
from coordexp.errors import CoordExpError, InputError
from coordexp.files import write_text
from coordexp.inference.run.predict import load_predictor
from coordexp.lab.cells import run_study
from coordexp.lab.graft import FIGURES as GRAFT_FIGURES
from coordexp.lab.groundwork import base_folder, prepare_data
from coordexp.lab.results import recipe_digest
from coordexp.lab.study import Plan, load_plan
from coordexp.quickstart.beliefs import write_beliefs
from coordexp.quickstart.contender import load_contender
from coordexp.quickstart.outcome import compare_contenders
from coordexp.quickstart.own_data import own_commands
from coordexp.quickstart.report import (
    TILES,
    QuickstartReportInputs,
    write_quickstart_report,
)

STUDY = Path(str(resources.files("coordexp.quickstart") / "study.yaml"))
NAMES = {"base": "Base", "integers": "Integers", "coord-tokens": "Coord tokens"}
"""Of the recipes, for people."""

AT_A_TIME = 2
BELIEFS = "beliefs.json"
BELIEF_RECORDS = (0, 1, 2)
MARKER = "quickstart.json"


def run_quickstart(out: Path) -> None:
    """Run every stage into a directory, those that have not ended yet, and say where the page is.

    Raises:
        InputError: If the directory holds something that no quickstart of this version wrote.
        CoordExpError: If a stage fails.
    """
    console = Console()
    plan = load_plan(STUDY)
    plan = replace(plan, study=plan.study.model_copy(update={"out": out}))
    _make_room(out, plan)

    def say(told: str) -> None:
        console.print(told, highlight=False, markup=False, soft_wrap=True)

    if not run_study(plan, processes=AT_A_TIME, threads=1, say=say):
        raise CoordExpError(f"{out}: a run failed; its log.txt says why")
    cells = {cell.recipe: cell for cell in plan.cells}
    folders = {recipe: out / "runs" / cell.folder for recipe, cell in cells.items()}
    tuned = folders["coord-tokens"]
    beliefs = out / BELIEFS
    if not beliefs.exists():
        say("looking at what the tuned model believes")
        cell = cells["coord-tokens"]
        heldout = prepare_data(plan, cell.task, size=cell.size, seed=cell.seed) / "heldout.jsonl"
        predictor = load_predictor(tuned / "merged")
        write_beliefs(predictor, heldout, beliefs, indices=BELIEF_RECORDS, objects=1)
    base, integers, coord = (
        load_contender(name, folders[recipe], plan.study.recipes[recipe].answers[0])
        for recipe, name in NAMES.items()
    )
    inputs = QuickstartReportInputs(
        base=base,
        integers=integers,
        coord=coord,
        training_pictures=cells["coord-tokens"].size,
        graft=base_folder(plan, plan.study.recipes["coord-tokens"].base) / GRAFT_FIGURES,
        beliefs=beliefs,
        commands=own_commands(tuned / "train.yaml"),
    )
    write_quickstart_report(out / "report.html", inputs)
    _print_summary(console, inputs)
    console.print(f"The page: [bold]{out / 'report.html'}[/bold]", soft_wrap=True)


def _make_room(out: Path, plan: Plan) -> None:
    """Make a folder that is a quickstart's, or see that it is one of the same study."""
    mark = json.dumps({"made_by": "coordexp quickstart", "study": _digest(plan)}) + "\n"
    marker = out / MARKER
    if marker.is_file():
        if marker.read_bytes() != mark.encode():
            raise InputError(
                f"{out}: holds another version's quickstart; remove it, or choose another --out"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: holds something that is no quickstart; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_text(marker, mark)


def _digest(plan: Plan) -> str:
    """Return what another study, or another recipe, would differ in."""
    study: YamlMapping = {
        **json.loads(plan.study.model_dump_json(exclude={"out"})),
        "configs": dict(plan.configs),
    }
    return recipe_digest(study)


def _print_summary(console: Console, inputs: QuickstartReportInputs) -> None:
    table = Table(title=f"{len(inputs.coord.predictions)} held-out pictures")
    for column in ("", *TILES):
        table.add_column(column, justify="right" if column else "left")
    for one in inputs.contenders:
        table.add_row(one.name, *(f"{one.drawn.actual[figure]:.3f}" for figure in TILES))
    console.print(table)
    console.print(compare_contenders(inputs.coord, inputs.integers).headline(), soft_wrap=True)
