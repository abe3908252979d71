"""Whether an answer can be read, says nothing twice and comes to an end.

    form = readable x distinct x short

- *readable*: 1 for an answer to the letter; half the share of its pieces that became objects for
  one that had to be salvaged; 0 for one that says nothing.
- *distinct*: the share of objects that repeat none before them, of the same words and an
  overlap of `REPEAT_IOU` or more.
- *short*: `longest / objects` where there are more than `longest`.

Source: the format reward of reinforcement from verifiable answers (DeepSeek-R1, Guo et al. 2025);
the share of repeats is what `coordexp evaluate` reports.

Cheats: any readable text is worth 1, `{}` and a list of tiny boxes too. So its weight stays small.
"""

from collections.abc import Sequence

import numpy as np

from coordexp.answers.parse import ParsedAnswer
from coordexp.evaluation.measure.instances import Bools, Floats, Ints
from coordexp.evaluation.measure.overlap import overlap_tiles
from coordexp.rewards.attempts import Attempts

REPEAT_IOU = 0.9
_SALVAGED = 0.5


def form(attempts: Attempts) -> Floats:
    """Return the term; it is defined for every answer."""
    readable = np.array([_readable(answer) for answer in attempts.parsed])
    said = np.array([len(answer.objects) for answer in attempts.parsed])
    distinct = 1 - _repeats(attempts) / np.maximum(said, 1)
    short = np.minimum(1.0, attempts.longest / np.maximum(said, 1))
    worth: Floats = readable * distinct * short
    return worth


def _readable(answer: ParsedAnswer) -> float:
    if answer.status == "ok":
        return 1.0
    if answer.status == "failed":
        return 0.0
    pieces = len(answer.objects) + len(answer.dropped)
    return _SALVAGED * (len(answer.objects) / pieces if pieces else 1.0)


def _repeats(attempts: Attempts) -> Floats:
    """Return how many objects of each answer repeat one before them."""
    counts = [len(answer.objects) for answer in attempts.parsed]
    start = np.cumsum(counts) - counts
    again = _word_for_word(attempts.parsed)  # also of boxes without area, which overlap nothing
    descs = _numbered_descs(attempts.parsed)
    predicted = attempts.matches.instances.predicted
    spot = start[predicted.image] + predicted.place
    for pairs in overlap_tiles(predicted, predicted, len(attempts)):
        near = pairs.chosen(pairs.iou >= REPEAT_IOU)
        before, behind = spot[near.first], spot[near.second]
        again[behind[(before < behind) & (descs[before] == descs[behind])]] = True
    image = np.repeat(np.arange(len(attempts)), counts)
    return np.bincount(image[again], minlength=len(attempts)).astype(np.float64)


def _word_for_word(parsed: Sequence[ParsedAnswer]) -> Bools:
    """Return of each object of all answers whether one before it in its answer is the same."""
    again = []
    for answer in parsed:
        said: set[tuple[str, tuple[float, ...]]] = set()
        for item in answer.objects:
            key = (item.desc, item.geometry.values)
            again.append(key in said)
            said.add(key)
    return np.array(again, dtype=np.bool_)


def _numbered_descs(parsed: Sequence[ParsedAnswer]) -> Ints:
    """Return a number for the desc of each object, the same for the same."""
    numbers: dict[str, int] = {}
    return np.array(
        [
            numbers.setdefault(item.desc, len(numbers))
            for answer in parsed
            for item in answer.objects
        ],
        dtype=np.int64,
    )
