"""The predictions line of one answer; its fields are a contract, see `docs/inference.md`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from coordexp.answers.answer import Answer
from coordexp.answers.box_scores import AnswerTokens, score, score_parts
from coordexp.answers.parse import (
    Dropped,
    ParsedAnswer,
    ParsedObject,
    ParseStatus,
    parse_prediction,
)
from coordexp.answers.repeats import without_repeats
from coordexp.answers.stock import parse_stock_answer
from coordexp.data.contract.federated import federated_to_json
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.marks import marks_to_json
from coordexp.data.contract.record import Record
from coordexp.rendering.style import RenderingStyle

Row = dict[str, object]
CoordDecode = Literal["token", "expectation"]
BELOW_MIN_SCORE: Final = "below min score"


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """What makes a raw score a calibrated one.

    Args:
        digest: Of the file it comes from, so that only a run with the same one is gone on with.
        apply: Returns the calibrated score; it keeps the order.
    """

    digest: str
    apply: Callable[[float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """What a line holds.

    Args:
        coord_decode: A coordinate is the token's bin, or the expectation around it.
        dedup_iou: Objects that overlap a surer one of the same desc at least this much are dropped;
            None keeps all.
        score_map: Makes raw scores calibrated ones; None leaves them raw.
        classes: Objects of any other desc are dropped; None keeps all.
        min_score: Objects of a lower score, calibrated where there is a map, are dropped; None
            keeps all.
    """

    coord_decode: CoordDecode = "token"
    dedup_iou: float | None = None
    score_map: ScoreMap | None = None
    classes: tuple[str, ...] | None = None
    min_score: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return what the lines depend on, as JSON values."""
        calibration = None if self.score_map is None else self.score_map.digest
        return {
            "coord_decode": self.coord_decode,
            "dedup_iou": self.dedup_iou,
            "calibration": calibration,
            "classes": self.classes,
            **({} if self.min_score is None else {"min_score": self.min_score}),
        }

    def score(self, parts: dict[str, float]) -> tuple[float, dict[str, float]]:
        """Return the score that parts make, and the parts; `raw` is among them once calibrated."""
        raw = score(parts)
        if self.score_map is None:
            return raw, parts
        return self.score_map.apply(raw), {**parts, "raw": raw}


@dataclass(frozen=True, slots=True)
class Scored:
    """An object of a line.

    Args:
        desc: What it is.
        geometry: Where it is, in pixels.
        score: How sure the model is.
        parts: What the score was made of.
        text: Where it was said.
    """

    desc: str
    geometry: Geometry
    score: float
    parts: dict[str, float]
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer says about an image.

    Args:
        objects: In the order of the answer.
        status: Whether the answer could be read as a whole.
        dropped: What became no object.
    """

    objects: Sequence[Scored]
    status: ParseStatus
    dropped: Sequence[Dropped]


def scored_objects(
    record: Record,
    answer: Answer,
    style: RenderingStyle,
    options: RowOptions,
    *,
    end_marks: Sequence[str],
) -> Found:
    """Return the objects of an answer with their scores, in pixels of the record's image.

    Args:
        record: What was asked about.
        answer: What was said.
        style: How the model was asked.
        options: What is kept.
        end_marks: Of the model's family.
    """
    parsed = parse_in_style(record, answer.text, style, end_marks)
    tokens = AnswerTokens(answer)
    objects = []
    for item in parsed.objects:
        bins: Sequence[float] = item.geometry.values
        if options.coord_decode == "expectation":
            bins = _expected_bins(item, tokens)
        geometry = Geometry(item.geometry.kind, tuple(bins), item.geometry.unit)
        pixels = geometry.to_pixels(record.width, record.height, style.alphabet)
        sureness, parts = options.score(score_parts(tokens, item))
        objects.append(
            Scored(
                desc=item.desc,
                geometry=Geometry(item.geometry.kind, pixels, "px"),
                score=sureness,
                parts=parts,
                text=answer.text[slice(*item.span)],
            )
        )
    dropped = list(parsed.dropped)
    if options.classes is not None:
        others = [item for item in objects if item.desc not in options.classes]
        objects = [item for item in objects if item.desc in options.classes]
        dropped += [Dropped("not in classes", item.text) for item in others]
    if options.dedup_iou is not None:
        objects, repeated = without_repeats(objects, options.dedup_iou)
        dropped += [Dropped("repeated", item.text) for item in repeated]
    if options.min_score is not None:
        low = [item for item in objects if item.score < options.min_score]
        objects = [item for item in objects if item.score >= options.min_score]
        dropped += [Dropped(BELOW_MIN_SCORE, item.text) for item in low]
    return Found(objects, parsed.status, dropped)


def parse_in_style(
    record: Record, text: str, style: RenderingStyle, end_marks: Sequence[str]
) -> ParsedAnswer:
    """Return what an answer says, read as its model was taught to write, or as its family does.

    Args:
        record: What was asked about.
        text: The answer.
        style: How the model was asked.
        end_marks: Of the model's family.
    """
    if style.stock is None:
        return parse_prediction(
            text, alphabet=style.alphabet, coord_tokens=style.coord_tokens, end_marks=end_marks
        )
    size = (record.width, record.height)
    return parse_stock_answer(
        text, style.stock, size=size, stored=record.file_size, end_marks=end_marks
    )


def prediction_row(
    record: Record,
    answer: Answer,
    style: RenderingStyle,
    root: str,
    options: RowOptions,
    *,
    end_marks: Sequence[str],
) -> Row:
    """Return the predictions line of one answer; arguments as in `scored_objects`.

    `root` is the folder of the pictures, relative to that of the predictions.
    """
    found = scored_objects(record, answer, style, options, end_marks=end_marks)
    size = (record.width, record.height)
    return {
        "root": root,
        "image": record.image,
        "width": record.width,
        "height": record.height,
        **({} if record.resized is None else {"resized": list(record.resized)}),
        **({} if record.prompt is None else {"prompt": record.prompt}),
        **({} if record.federated is None else {"federated": federated_to_json(record.federated)}),
        **({} if options.min_score is None else {"min_score": options.min_score}),
        "gt": [
            {
                "desc": item.desc,
                item.best_geometry.kind: list(item.best_geometry.to_pixels(*size, style.alphabet)),
                **marks_to_json(item.marks),
            }
            for item in record.objects
        ],
        "pred": [
            {
                "desc": item.desc,
                item.geometry.kind: list(item.geometry.values),
                "score": item.score,
                "score_parts": item.parts,
            }
            for item in found.objects
        ],
        "raw_text": answer.text,
        "parse": {
            "status": found.status,
            "dropped": [{"reason": drop.reason, "text": drop.text} for drop in found.dropped],
        },
        "finish_reason": answer.finish_reason,
        "tokens": _token_runs(answer),
    }


def _token_runs(answer: Answer) -> list[tuple[str, float]]:
    """Return each token's text and probability; tokens in a row that were certain are one."""
    runs: list[tuple[str, float]] = []
    for text, probability in zip(answer.pieces, answer.probabilities, strict=True):
        p = round(probability, 4)
        if runs and p == runs[-1][1] == 1.0:
            runs[-1] = (runs[-1][0] + text, p)
        else:
            runs.append((text, p))
    return runs


def _expected_bins(item: ParsedObject, tokens: AnswerTokens) -> Sequence[float]:
    """Return the expectation around each coordinate.

    Where that would turn a box's corners around, which takes a box thinner than the window, the
    axis keeps its tokens.
    """
    beliefs = [tokens.belief(span) for span in item.coord_spans]
    expected = [
        value if belief is None else belief.mean_bin
        for value, belief in zip(item.geometry.values, beliefs, strict=True)
    ]
    if item.geometry.rules.form == "corners":
        for axis in (0, 1):
            if expected[axis] > expected[axis + 2]:
                expected[axis::2] = item.geometry.values[axis::2]
    return expected
