"""Why a figure is what it is, where the file itself tells: in sentences for the terminal and page.

An average precision of zero says that nothing was found, and not why: because every desc is spelled
another way than the truth's, because boxes are in other units, because no answer could be read.
"""

from collections.abc import Iterator, Sequence

from coordexp.answers.prediction_lines import BELOW_MIN_SCORE
from coordexp.evaluation.measure.figures import Evaluation
from coordexp.evaluation.measure.matching import IOU_THRESHOLDS

_SHOWN = 3
# Shares from which on something is a reason and not a slip.
_MANY_UNKNOWN, _MANY_UNREAD, _MANY_CLIPPED = 0.1, 0.1, 0.01


def reasons(evaluation: Evaluation) -> list[str]:
    """Return what makes the figures low, as far as that is seen; nothing for a sound file."""
    return [
        *_unread(evaluation),
        *_unknown(evaluation),
        *_nowhere(evaluation),
        *_points_for_boxes(evaluation),
        *_clipped(evaluation),
        *_cut(evaluation),
    ]


def _unread(evaluation: Evaluation) -> Iterator[str]:
    statuses = [row.status for row in evaluation.predictions]
    failed = statuses.count("failed")
    if failed > _MANY_UNREAD * len(statuses):
        yield f"{failed} of {len(statuses)} answers could not be read at all (parse.status failed)"
    if not any(row.predicted for row in evaluation.predictions):
        yield "not one object is predicted"


def _unknown(evaluation: Evaluation) -> Iterator[str]:
    unknown = evaluation.instances.unknown
    count = sum(unknown.values())
    every = sum(len(row.predicted) for row in evaluation.predictions)
    names = evaluation.instances.categories.names
    if not names or count <= _MANY_UNKNOWN * every:
        return
    near = {plain_form(name): name for name in names}
    alike = {desc: near[form] for desc in unknown if (form := plain_form(desc)) in near}
    share = f"all {count:,}" if count == every else f"{count:,} of {every:,}"
    text = f"{share} predicted objects have a desc that is no class of the truth: "
    text += f"predicted {_few(list(unknown))}; true {_few(names)}"
    if alike:
        pairs = [f"{said!r} for {true!r}" for said, true in list(alike.items())[:_SHOWN]]
        text += f". Near misses, one spelling would match them: {', '.join(pairs)}"
    yield text


def plain_form(desc: str) -> str:
    """Return a desc without what often differs: case, separators and a plural's ending.

    Example:
        >>> plain_form("Traffic_Lights"), plain_form("buses"), plain_form("glass")
        ('traffic light', 'bus', 'glass')
    """
    text = " ".join(desc.casefold().replace("_", " ").replace("-", " ").split())
    for ending in ("ses", "xes", "ches", "shes"):
        if text.endswith(ending):
            return text[:-2]
    return text[:-1] if text.endswith("s") and not text.endswith("ss") else text


def _nowhere(evaluation: Evaluation) -> Iterator[str]:
    """Tell where no box, whatever it is called, is near a true one."""
    predicted, truth = evaluation.instances.predicted, evaluation.instances.truth
    near = evaluation.matches.nearest.best_iou_any_class
    if not len(predicted) or not len(truth) or near.max() >= IOU_THRESHOLDS[0]:
        return
    text = "no predicted box overlaps a true one by half, whatever either is called"
    most = float(predicted.boxes.max())
    if most <= 1 < float(truth.boxes.max()):
        text += f": no predicted coordinate is above {most:g}, so they may be fractions; " + _PIXELS
    yield text


_PIXELS = "boxes are pixels of the original picture, x1, y1, x2, y2"


def _points_for_boxes(evaluation: Evaluation) -> Iterator[str]:
    """Tell where boxes are asked for and all that is answered is points."""
    instances = evaluation.instances
    said = len(instances.predicted_points)
    if len(instances.truth) and said and not len(instances.predicted):
        yield f"all {said:,} predicted objects are points: AP and F1 are of boxes, see `points`"


def _clipped(evaluation: Evaluation) -> Iterator[str]:
    every = sum(len(row.predicted) for row in evaluation.predictions)
    count = sum(item.clipped for row in evaluation.predictions for item in row.predicted)
    if not count:
        return
    text = f"{count:,} of {every:,} predicted objects overhang their picture and were clipped"
    if count > _MANY_CLIPPED * every:
        text += "; " + _PIXELS
    yield text


def _cut(evaluation: Evaluation) -> Iterator[str]:
    """Tell where predictions of low scores were left out before they came here."""
    cut = [row for row in evaluation.predictions if row.min_score is not None]
    if not cut:
        return
    left_out = [sum(item.reason == BELOW_MIN_SCORE for item in row.dropped) for row in cut]
    scores = sorted({row.min_score for row in cut if row.min_score is not None})
    yield (
        f"objects below a score of {' or '.join(f'{score:g}' for score in scores)} were left out "
        f"when they were predicted (--min-score): {sum(left_out):,} objects in "
        f"{sum(map(bool, left_out)):,} of {len(evaluation.predictions):,} answers. AP, recall and "
        "the curves over the score end there; AP of all predictions may be higher. Where that "
        "score was chosen on these very images, F1 is flattered too"
    )


def _few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {more:,} more" if more > 0 else "")
