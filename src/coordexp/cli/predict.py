"""`coordexp predict`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from coordexp.cli.options import Overwrite, Revision, find_given

if TYPE_CHECKING:
    from coordexp.answers.prediction_lines import RowOptions, ScoreMap
    from coordexp.inference.run.predict import Summary


class Constrain(StrEnum):
    """Whether the answer is kept inside the grammar."""

    ON = "on"
    OFF = "off"


class Corners(StrEnum):
    """Whether the grammar keeps a box's corners in order."""

    ORDERED = "ordered"
    ANY = "any"


class CoordDecode(StrEnum):
    """How a coordinate is read."""

    TOKEN = "token"
    EXPECTATION = "expectation"


class Backend(StrEnum):
    """What runs the model."""

    HF = "hf"
    VLLM = "vllm"
    HTTP = "http"


class Dedup(NamedTuple):
    """What becomes of objects that an answer says again.

    Args:
        iou: From which overlap on an object repeats another.
        stop: Whether an answer ends where it says nothing else.
    """

    iou: float
    stop: bool


def parse_dedup(value: str) -> Dedup:
    """Return what `iou=0.9` or `iou=0.95,stop` asks for."""
    given, comma, stop = value.partition(",")
    name, _, number = given.partition("=")
    try:
        iou = float(number)
    except ValueError:
        iou = -1.0
    if name != "iou" or not 0 < iou <= 1 or stop != ("stop" if comma else ""):
        raise typer.BadParameter(
            f"expected iou=0.9 or another number up to 1, or iou=0.95,stop; got {value!r}"
        )
    return Dedup(iou, stop=bool(comma))


def parse_min_score(value: str) -> float:
    """Return the score of `0.3`."""
    try:
        score = float(value)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise typer.BadParameter(f"expected a score from 0 to 1, got {value!r}")
    return score


def load_score_map(path: Path) -> "ScoreMap":
    """Return the map of a calibration file.

    Raises:
        InputError: If it cannot be read or is no calibration file.
    """
    import numpy as np  # noqa: PLC0415

    from coordexp.answers.prediction_lines import ScoreMap  # noqa: PLC0415
    from coordexp.evaluation.measure.calibration import load_calibration  # noqa: PLC0415
    from coordexp.identity import file_digest  # noqa: PLC0415

    calibration = load_calibration(path)

    def calibrated(score: float) -> float:
        return float(calibration.apply(np.array([score]))[0])

    return ScoreMap(file_digest(path), calibrated)


def predict(  # noqa: PLR0913, PLR0917 - one for each option
    model: Annotated[
        str,
        typer.Option(
            help="Merged model, adapter checkpoint or stock model: its folder, or OWNER/NAME on a "
            "hub."
        ),
    ],
    data: Annotated[Path, typer.Option(help="JSONL of records, a picture, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="predictions.jsonl to write.")],
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="8, or 128 with vLLM",
            help="Images at once; of a server, requests.",
        ),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
    constrain: Annotated[
        Constrain, typer.Option(help="Keep answers inside the grammar; off decodes freely.")
    ] = Constrain.ON,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="Text file of descs, one a line: keep only objects of these. Scores stay relative "
            "to everything the model could have said. A model of custom.class_list is asked for "
            "these alone."
        ),
    ] = None,
    restrict_to: Annotated[
        Path | None,
        typer.Option(
            help="Text file of descs, one a line: force every object into one of these. Only where "
            "nothing else can be in the pictures."
        ),
    ] = None,
    corners: Annotated[
        Corners,
        typer.Option(
            help="Keep x1 <= x2 and y1 <= y2; any, and vLLM always, drops boxes that break it."
        ),
    ] = Corners.ORDERED,
    coord_decode: Annotated[
        CoordDecode, typer.Option(help="The token's bin, or the expectation around it.")
    ] = CoordDecode.TOKEN,
    dedup: Annotated[
        Dedup | None,
        typer.Option(
            parser=parse_dedup,
            metavar="iou=0.9[,stop]",
            help="Leave out objects that repeat another; stop: end answers that say no other.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Apply a calibration.json of coordexp evaluate to the scores."),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            parser=parse_min_score,
            metavar="X",
            help="Leave out objects of a lower score; what is evaluated afterwards ends there.",
        ),
    ] = None,
    coco: Annotated[Path | None, typer.Option(help="Write COCO results to this file too.")] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Ask this of a picture or a folder, not what training asked."),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(help="Folder to draw into: each picture with its boxes, and a page of all."),
    ] = None,
    revision: Revision = None,
    overwrite: Overwrite = False,  # noqa: FBT002
    backend: Annotated[
        Backend,
        typer.Option(help="transformers, vLLM for a merged model, or a server (coordexp serve)."),
    ] = Backend.HF,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option of vLLM's engine, as tensor_parallel_size=2; may be given several times.",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The server of --backend http: http://127.0.0.1:8000.")
    ] = None,
) -> None:
    """Answer every record, a picture, or every picture of a folder.

    The prompt and all else come from the model's coordexp.json; a stock model, which has none, is
    asked and read in its family's own words. A run that was stopped goes on
    when the same command is given again. On several GPUs put
    torchrun --nproc-per-node N -m in front.
    """
    from coordexp.answers.class_filter import read_classes  # noqa: PLC0415
    from coordexp.answers.prediction_lines import RowOptions  # noqa: PLC0415
    from coordexp.inference.decode.repeat_stop import IN_A_ROW, RepeatStop  # noqa: PLC0415
    from coordexp.inference.run.ask import AskOptions  # noqa: PLC0415
    from coordexp.inference.run.command import run_predict  # noqa: PLC0415
    from coordexp.inference.run.options import BATCH_SIZES, PredictOptions  # noqa: PLC0415
    from coordexp.inference.run.vllm_engine import parse_engine_options  # noqa: PLC0415
    from coordexp.inspection.survey.drawn_predictions import check_drawable  # noqa: PLC0415

    options = PredictOptions(
        batch_size=batch_size or BATCH_SIZES[backend.value],
        asking=AskOptions(
            constrain=constrain is Constrain.ON,
            restrict_to=None if restrict_to is None else read_classes(restrict_to),
            max_new_tokens=max_new_tokens,
            ordered=corners is Corners.ORDERED,
            stop=RepeatStop(dedup.iou, IN_A_ROW) if dedup is not None and dedup.stop else None,
        ),
        rows=RowOptions(
            coord_decode=coord_decode.value,
            dedup_iou=None if dedup is None else dedup.iou,
            score_map=None if calibration is None else load_score_map(calibration),
            classes=None if classes is None else read_classes(classes),
            min_score=min_score,
        ),
        coco=coco,
        backend=backend.value,
        engine=parse_engine_options(engine or ()),
        overwrite=overwrite,
        url=url,
        prompt=prompt,
    )
    if draw is not None:
        check_drawable(draw, overwrite=overwrite)
    summary = run_predict(find_given(model, revision).path, data, out, options)
    if summary is not None:  # else another rank speaks
        if draw is not None:
            _draw(out, draw, overwrite=overwrite)
        _report(summary, out, classes, options.rows)


def _draw(predictions: Path, out: Path, *, overwrite: bool) -> None:
    from coordexp.inspection.survey.drawn_predictions import draw_predictions  # noqa: PLC0415

    drawn = draw_predictions(predictions, out, overwrite=overwrite)
    typer.echo(f"drawn: {drawn.pictures} pictures, {drawn.page}")


def _report(summary: "Summary", out: Path, classes: Path | None, options: "RowOptions") -> None:
    """Say what was written.

    Raises:
        Exit: With 1, if pictures could not be read.
    """
    scored = summary.objects + summary.below
    if classes is not None:
        said = scored + summary.repeated + summary.not_asked
        typer.echo(
            f"classes {classes}: {said} objects, {summary.not_asked} of other classes left out"
        )
    if options.dedup_iou is not None:
        before = scored + summary.repeated
        ended = f"; {summary.stopped} answers ended at repeats" if summary.stopped else ""
        typer.echo(
            f"dedup iou={options.dedup_iou:g}: {before} objects, {scored} without repeats{ended}"
        )
    if options.min_score is not None:
        typer.echo(
            f"min-score {options.min_score:g}: {scored} objects, {summary.below} below it left "
            f"out, in {summary.below_lines} of {summary.lines} answers"
        )
    typer.echo(f"{out}: {summary.lines} predictions")
    if summary.unread:
        shown = "\n  ".join(summary.unread[:10])
        typer.echo(
            f"error: {len(summary.unread)} pictures could not be read and have no line:\n  {shown}",
            err=True,
        )
        raise typer.Exit(1)
