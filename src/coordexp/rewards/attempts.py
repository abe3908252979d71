"""Answers beside what is true, read and matched once, for every term.

Everything is measured in bins, as if every picture had as many pixels on either axis as there are
steps between bins: intersection over union does not change when an axis is stretched, and answers
need not be turned into pixels. True objects keep their exact place between the bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coordexp.answers.parse import ParsedAnswer
from coordexp.answers.prediction_lines import parse_in_style
from coordexp.data.contract.geometry import Geometry
from coordexp.data.contract.record import Record
from coordexp.errors import InputError
from coordexp.evaluation.measure.collector import collector_paused
from coordexp.evaluation.measure.instances import Bools, Floats, Ints, collect_instances
from coordexp.evaluation.measure.matching import (
    MatchCounts,
    Matches,
    match,
    ratio,
    tally_images,
)
from coordexp.evaluation.measure.predictions import Prediction
from coordexp.evaluation.measure.scored_objects import ScoredObject
from coordexp.rendering.style import RenderingStyle


@dataclass(frozen=True, slots=True)
class Attempts:
    """What terms look at.

    Args:
        parsed: What each answer says.
        matches: Which of its objects finds what, at COCO's thresholds; the images are the answers.
        tally: The same, counted for each answer.
        longest: More objects than this are too many in one answer.
    """

    parsed: tuple[ParsedAnswer, ...]
    matches: Matches
    tally: MatchCounts
    longest: int

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self.parsed)

    @property
    def judged(self) -> Bools:
        """Which predictions are right or wrong, and not excused by a crowd or by who annotated."""
        judged: Bools = self.matches.judged[0]
        return judged

    def share(self, worth: Floats | Ints, true: Bools, said: Bools) -> Floats:
        """Return 2·worth / (true + said) of each answer, NaN where there is neither.

        Args:
            worth: Of each answer, at most the smaller of both numbers.
            true: Which true objects take part.
            said: Which predictions do.
        """
        truth, predicted = self.matches.instances.truth, self.matches.instances.predicted
        whole = np.bincount(truth.image[true], minlength=len(self)) + np.bincount(
            predicted.image[said], minlength=len(self)
        )
        return ratio(2 * worth, whole)


@collector_paused()
def read_attempts(
    texts: Sequence[str],
    records: Sequence[Record],
    *,
    style: RenderingStyle,
    end_marks: Sequence[str],
    longest: int,
) -> Attempts:
    """Return answers, read and matched.

    Args:
        texts: What the model wrote, special tokens kept.
        records: What each was asked about; the same one may come several times.
        style: How it was asked.
        end_marks: Of the model's family.
        longest: More objects than this are too many in one answer.

    Raises:
        InputError: If there are not as many records as answers, or none.
    """
    if len(texts) != len(records) or not texts:
        raise InputError(
            f"rewards: expected a record for each answer, got {len(texts)} answers and "
            f"{len(records)} records"
        )
    steps = style.alphabet.bins - 1
    parsed = tuple(
        [
            parse_in_style(record, text, style, end_marks)
            for text, record in zip(texts, records, strict=True)
        ]
    )
    lines = [_line(answer, record, steps) for answer, record in zip(parsed, records, strict=True)]
    matches = match(collect_instances(lines, matching="normalized", unknown="bucket"))
    return Attempts(parsed, matches, tally_images(matches), longest)


def _line(answer: ParsedAnswer, record: Record, steps: int) -> Prediction:
    width, height = record.width, record.height
    return Prediction(
        root=".",
        image=record.image,
        width=steps,
        height=steps,
        truth=tuple(
            [
                ScoredObject(
                    item.desc,
                    _in_steps(item.best_geometry, width, height, steps),
                    1.0,
                    {},
                    item.marks,
                )
                for item in record.objects
            ]
        ),
        predicted=tuple(
            [
                ScoredObject(item.desc, _in_steps(item.geometry, width, height, steps), 1.0, {})
                for item in answer.objects
            ]
        ),
        raw_text="",
        status=answer.status,
        dropped=(),
        finish_reason=None,
        federated=record.federated,
    )


def _in_steps(geometry: Geometry, width: int, height: int, steps: int) -> Geometry:
    """Return a geometry with its values between 0 and `steps`, not rounded."""
    if geometry.unit == "bin":
        return geometry
    scales = (steps / width, steps / height)
    values = [value * scales[axis % 2] for axis, value in enumerate(geometry.values)]
    return Geometry(geometry.kind, tuple(values), "bin")
