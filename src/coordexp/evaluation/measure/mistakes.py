"""What kind of mistake each wrong prediction is, and what was taken for what; all at IoU 0.5.

A prediction that found nothing is, the first that fits:

- `duplicate`: it overlaps a true object of its class by 0.5, which a surer one has found;
- `wrong class`: it overlaps a true object of another class by 0.5;
- `poor box`: it overlaps a true object of its class by 0.1;
- `hallucination`: there is nothing of the kind.

A true object that nothing found is a `miss`. Crowds and ignored objects are no misses, and what is
not judged is no mistake.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from coordexp.evaluation.measure.instances import Bools, Ints
from coordexp.evaluation.measure.matching import Matches
from coordexp.evaluation.measure.nearest import GOOD_IOU

MistakeKind = Literal["miss", "duplicate", "wrong class", "poor box", "hallucination"]
MISTAKE_KINDS: tuple[MistakeKind, ...] = get_args(MistakeKind)
POOR_IOU = 0.1
CONFUSIONS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The mistakes of a file.

    Args:
        missed: Of each true object.
        kind: Of each prediction: an index into `MISTAKE_KINDS`, -1 where it is right or not judged.
        taken_for: Of each prediction of a wrong class, the true object that it overlaps most; -1
            for the others.
    """

    missed: Bools
    kind: Ints
    taken_for: Ints

    def counts(self) -> dict[str, int]:
        """Return the number of each kind."""
        times = np.bincount(self.kind[self.kind >= 0], minlength=len(MISTAKE_KINDS)).tolist()
        return {**dict(zip(MISTAKE_KINDS, times, strict=True)), "miss": int(self.missed.sum())}


def find_mistakes(matches: Matches) -> Mistakes:
    """Return what kind of mistake each wrong prediction is."""
    truth, near = matches.instances.truth, matches.nearest
    wrong = matches.judged[0] & ~matches.correct[0]
    cases = [near.own_iou >= GOOD_IOU, near.other_iou >= GOOD_IOU, near.own_iou >= POOR_IOU]
    named = [MISTAKE_KINDS.index(name) for name in ("duplicate", "wrong class", "poor box")]
    kind = np.select(cases, named, default=MISTAKE_KINDS.index("hallucination"))
    kind = np.where(wrong, kind, -1)
    confused = kind == MISTAKE_KINDS.index("wrong class")
    taken_for = np.where(confused, near.other_truth, -1)
    return Mistakes(missed=~matches.found() & truth.counted, kind=kind, taken_for=taken_for)


def confusions(matches: Matches, mistakes: Mistakes) -> Counter[tuple[int, int]]:
    """Return how often a true class was called another one, by category ids."""
    truth, predicted = matches.instances.truth, matches.instances.predicted
    confused = np.flatnonzero(mistakes.taken_for >= 0)
    true = truth.category[mistakes.taken_for[confused]].tolist()
    said = predicted.category[confused].tolist()
    return Counter(zip(true, said, strict=True))


def confusions_to_json(matches: Matches, mistakes: Mistakes) -> list[dict[str, Any]]:
    """Return the most frequent confusions; a predicted desc that is no class is None."""
    categories = matches.instances.categories
    names = ["", *categories.names, None]
    return [
        {"true": names[true], "predicted": names[said], "count": count}
        for (true, said), count in confusions(matches, mistakes).most_common(CONFUSIONS_SHOWN)
    ]
