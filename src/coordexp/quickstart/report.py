"""The quickstart's page: who points better, what it cost, how to do the same on own data.

Everything is read from files that the runs wrote, so that the page can be made again alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from coordexp.errors import InputError
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.page.page import shot, shown, shown_share
from coordexp.inspection.survey.training_curves import training_curves
from coordexp.quickstart.contender import Contender, load_json
from coordexp.quickstart.outcome import Outcome, compare_contenders
from coordexp.viewing.distributions import BeliefChart, EdgeBelief, bin_distribution
from coordexp.viewing.elements import Sheet, Shot, Tile, Tone
from coordexp.viewing.page import Page

PICTURES, BELIEFS = 8, 6

FIGURES = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "F1@0.5": "F1@0.5",
    "F1@0.95": "F1@0.95: tight boxes",
    "mean_best_iou": "Mean best IoU",
}
TILES = ("AP", "AP75", "F1@0.5", "F1@0.95")
STAGES = {"train": "Train", "merge": "Merge and certify", "predict": "Ask"}
_TONES: Mapping[int, Tone] = {1: "good", 0: "plain", -1: "warn"}


@dataclass(frozen=True, slots=True)
class QuickstartReportInputs:
    """What the page shows.

    Args:
        base: The base as it is.
        integers: Tuned to answer in integers.
        coord: Tuned to answer in coord tokens.
        training_pictures: Of both.
        graft: Figures of the graft on which coord tokens were tuned.
        beliefs: JSON list of distributions over bins.
        commands: What each step on own data does, and its command.
    """

    base: Contender
    integers: Contender
    coord: Contender
    training_pictures: int
    graft: Path
    beliefs: Path
    commands: Sequence[tuple[str, str]]

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """All three, in their order on the page."""
        return self.base, self.integers, self.coord


def write_quickstart_report(out_html: Path, inputs: QuickstartReportInputs) -> None:
    """Write the page; it appears under its name when it is complete.

    Raises:
        InputError: If a file cannot be read.
    """
    outcome = compare_contenders(inputs.coord, inputs.integers)
    logs = {one.name: one.train_log for one in inputs.contenders if one.train_log is not None}
    values = {
        "said": [clear_told(outcome), *costs_told(inputs)],
        "tiles": _tiles(inputs, outcome),
        "warnings": _warnings(inputs),
        "figures": _figure_sheet(inputs),
        "differences": _difference_sheet(outcome),
        "pictures": _pictures(inputs),
        "curves": training_curves(logs),
        "beliefs": _beliefs(inputs.beliefs),
        "costs": _cost_sheet(inputs),
        "graft": graft_told(load_json(inputs.graft)),
        "steps": inputs.commands,
    }
    title = outcome.headline()
    Page(__name__, "quickstart.html.j2", title, subtitle(inputs), values).write(out_html)


def subtitle(inputs: QuickstartReportInputs) -> str:
    """Return what the first line is about."""
    aps = [shown(one.metrics["bbox"]["AP"]) for one in (inputs.coord, inputs.integers, inputs.base)]
    return (
        f"AP {aps[0]} against {aps[1]}, and {aps[2]} of the base as it is; 95 % interval over "
        f"{len(inputs.coord.predictions):,} held-out pictures. Icons that the base has never seen, "
        f"on photographs, learned from {inputs.training_pictures:,} pictures by both."
    )


def clear_told(outcome: Outcome) -> str:
    """Return which figures the pictures tell apart, and in whose favour."""
    favours = {1: "coord tokens", -1: "integers"}
    told = [
        f"{FIGURES[figure]}, {found.this:.3f} against {found.other:.3f}, in favour of "
        f"{favours[outcome.sign(figure)]}"
        for figure, found in outcome.differences.items()
        if figure in FIGURES and outcome.sign(figure)
    ]
    if not told:
        return "No figure tells coord tokens and integers apart on these pictures."
    return f"What these pictures do tell apart: {'; '.join(told)}."


def costs_told(inputs: QuickstartReportInputs) -> list[str]:
    """Return what the two answers cost, and what a coord token gives beside a box."""
    coord, integers = inputs.coord, inputs.integers
    told = [
        "All three were asked for the same pictures, and scored in the same way. "
        f"Training took {coord.cpu_seconds('train'):.0f} CPU seconds in coord tokens and "
        f"{integers.cpu_seconds('train'):.0f} in integers, the same pictures in the same number of "
        f"steps; asking took {coord.cpu_seconds('predict'):.0f} and "
        f"{integers.cpu_seconds('predict'):.0f}."
    ]
    sizes = [_pieces_of_an_object(one) for one in (coord, integers)]
    if all(sizes):
        told.append(
            f"An object is written in {sizes[0]:.1f} pieces in coord tokens and in {sizes[1]:.1f} "
            "in integers: a coordinate is decided once, as a distribution over all bins that can "
            "be looked at below, and not digit by digit."
        )
    return told


def _pieces_of_an_object(contender: Contender) -> float:
    """Return how many pieces of text an object took; 0 where that is not known."""
    objects = sum(len(row.predicted) for row in contender.predictions)
    pieces = sum(len(row.tokens) for row in contender.predictions)
    return pieces / objects if objects else 0.0


def graft_told(figures: Mapping[str, Any]) -> str:
    """Return what the graft had cost, once for the base, and how near it comes to the base."""
    cost = {name: stage["cpu_seconds"] for name, stage in figures["cost"].items()}
    minutes = sum(cost.values()) / 60
    return (
        "Coord tokens were not new to the base that they were tuned on. They had been grafted on "
        "it once, before any task and without labels: the base was asked about "
        f"{figures['pictures']['asked']:,} pictures of digits ({cost['ask']:,.0f} CPU seconds), "
        f"rows were fitted to what it knows ({cost['fit']:,.0f}), and trained on its own answers "
        f"({cost['train']:,.0f}). That cost {minutes:.0f} minutes of one core, as part of what is "
        f"published, and is not in the times here. On digits the graft has AP "
        f"{figures['grafted']['AP']:.3f} where the base has {figures['base']['AP']:.3f}."
    )


class _Pictures(NamedTuple):
    rows: Sequence[Sequence[Shot]]
    columns: Sequence[str]
    missing: str


def _tiles(inputs: QuickstartReportInputs, outcome: Outcome) -> list[Tile]:
    tiles = []
    for figure in TILES:
        value, *others = (
            f"{one.drawn.actual[figure]:.3f}"
            for one in (inputs.coord, inputs.integers, inputs.base)
        )
        remark = f"integers {others[0]}, base {others[1]}"
        tiles.append(Tile(FIGURES[figure], value, remark, _TONES[outcome.sign(figure)]))
    return tiles


def _warnings(inputs: QuickstartReportInputs) -> list[str]:
    return [
        f"{one.name}: {warning}"
        for one in inputs.contenders
        if (warning := one.metrics["scores"]["warning"])
    ]


def _figure_sheet(inputs: QuickstartReportInputs) -> Sheet:
    return Sheet(
        "The three answers.",
        ["", *FIGURES.values(), "Parsed whole"],
        [[one.name, *_figures(one)] for one in inputs.contenders],
    )


def _figures(one: Contender) -> list[str]:
    values = [f"{one.drawn.actual[figure]:.3f}" for figure in FIGURES]
    return [*values, shown_share(one.metrics["parse"]["ok_share"])]


_SAID = {1: "better", 0: "not told apart", -1: "worse"}


def _difference_sheet(outcome: Outcome) -> Sheet:
    rows = []
    for figure, name in FIGURES.items():
        found = outcome.differences[figure]
        low_high = found.interval
        rows.append(
            [
                name,
                f"{found.this - found.other:+.3f}",
                "" if low_high is None else "{:+.3f} to {:+.3f}".format(*low_high),
                _SAID[outcome.sign(figure)],
            ]
        )
    title = "Coord tokens beside integers. Intervals are over pictures; it is one training of each."
    return Sheet(title, ["", "Difference", "95 %", "Coord tokens are"], rows)


def _pictures(inputs: QuickstartReportInputs) -> _Pictures:
    answers = [{row.image: row for row in one.predictions} for one in inputs.contenders]
    images = [row.image for row in inputs.coord.predictions]
    chosen = sorted({k * len(images) // PICTURES for k in range(PICTURES)}) if images else []
    sides = list(zip(inputs.contenders, answers, strict=True))
    rows = [[_shot(said.get(images[k]), one.folder) for one, said in sides] for k in chosen]
    whole = [[item for item in row if item is not None] for row in rows if None not in row]
    lost = len(rows) - len(whole)
    missing = f"{lost} of {len(rows)} pictures could not be shown." if lost else ""
    return _Pictures(whole, [one.name for one in inputs.contenders], missing)


def _shot(row: Prediction | None, folder: Path) -> Shot | None:
    if row is None:
        return None
    caption = f"{len(row.predicted)} predicted, {len(row.truth)} true"
    if row.status != "ok":
        caption += f"; answer {row.status}"
    return shot(row, folder, caption)


def _beliefs(path: Path) -> list[BeliefChart]:
    return [
        bin_distribution(f"“{desc}” in {image}", _open(path.parent / root / image), beliefs)
        for (root, image, desc), beliefs in _grouped_beliefs(load_json(path))[:BELIEFS]
    ]


def _grouped_beliefs(
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[tuple[str, str, str], list[EdgeBelief]]]:
    """Return the rows by object; an edge that comes again begins another of the same name."""
    groups: list[tuple[tuple[str, str, str], list[EdgeBelief]]] = []
    for row in rows:
        key = (row["root"], row["image"], row["object"])
        belief = EdgeBelief(row["axis"], row["true_bin"], row["probs"])
        if groups and groups[-1][0] == key and belief.edge not in {b.edge for b in groups[-1][1]}:
            groups[-1][1].append(belief)
        else:
            groups.append((key, [belief]))
    return groups


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except OSError as error:
        raise InputError(f"{path}: cannot be opened as a picture: {error}") from None


def _cost_sheet(inputs: QuickstartReportInputs) -> Sheet:
    rows = []
    for key, name in STAGES.items():
        rows.append([f"{name}, CPU seconds", *(_cpu_told(one, key) for one in inputs.contenders)])
    peaks = [
        max((cost["peak_mb"] for cost in one.costs.values()), default=0.0)
        for one in inputs.contenders
    ]
    rows.append(["Most memory", *(f"{peak:,.0f} MB" for peak in peaks)])
    return Sheet("", ["", *(one.name for one in inputs.contenders)], rows)


def _cpu_told(one: Contender, stage: str) -> str:
    seconds = one.cpu_seconds(stage)
    return f"{seconds:,.0f}" if seconds else "\N{EN DASH}"
