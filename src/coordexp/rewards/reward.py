"""What answers are worth: the weighted mean of the terms, each from 0 to 1.

    worth = rewards(texts, records, style=style, end_marks=family.end_marks,
                    longest=100, weights=STARTING_WEIGHTS)
    worth.total, worth.terms["found"]

A pure function of answer, truth and picture size: an answer is worth the same whatever else is in
the batch. A new term is a module with a function of `Attempts`, and its name here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coordexp.data.contract.record import Record
from coordexp.evaluation.measure.instances import Floats
from coordexp.rendering.style import RenderingStyle
from coordexp.rewards.attempts import Attempts, read_attempts
from coordexp.rewards.count import count
from coordexp.rewards.form import form
from coordexp.rewards.found import found
from coordexp.rewards.nearness import nearness
from coordexp.rewards.outlines import outlines
from coordexp.rewards.weights import check_weights

TERMS: Mapping[str, Callable[[Attempts], Floats]] = {
    "found": found,
    "nearness": nearness,
    "outlines": outlines,
    "count": count,
    "form": form,
}


@dataclass(frozen=True, slots=True)
class Rewards:
    """What answers are worth.

    Args:
        total: Of each answer, from 0 to 1; NaN where no weighted term says anything.
        terms: Each weighted term of each answer; NaN where it says nothing.
    """

    total: Floats
    terms: Mapping[str, Floats]


def rewards(
    texts: Sequence[str],
    records: Sequence[Record],
    *,
    style: RenderingStyle,
    end_marks: Sequence[str],
    longest: int,
    weights: Mapping[str, float],
) -> Rewards:
    """Return what answers are worth.

    Where a term says nothing about an answer, the others carry its weight.

    Args:
        texts: What the model wrote, special tokens kept.
        records: What each was asked about; the same one may come several times.
        style: How it was asked.
        end_marks: Of the model's family.
        longest: More objects than this are too many in one answer.
        weights: Of the terms, by name; what is left out or 0 is not computed.

    Raises:
        InputError: If there are not as many records as answers, or none; or if the weights cannot
            be used.
    """
    check_weights(weights, TERMS)
    attempts = read_attempts(texts, records, style=style, end_marks=end_marks, longest=longest)
    terms = {name: TERMS[name](attempts) for name, weight in weights.items() if weight}
    parts = np.stack(list(terms.values()))
    says = ~np.isnan(parts)
    heavy = np.array([weights[name] for name in terms])[:, None] * says
    whole = heavy.sum(axis=0)
    total = np.divide(
        (heavy * np.where(says, parts, 0.0)).sum(axis=0),
        whole,
        out=np.full(len(attempts), np.nan),
        where=whole > 0,
    )
    return Rewards(total, terms)
