"""Whether as many objects of each class are said as there are.

    count = 2 x sum over classes of min(true, predicted) / (true + predicted)

The coefficient of Dice (1945) of two bags of words; where the boxes lie is not looked at. It has a
slope where F1 is flat: a policy whose boxes are bad still learns to say what is there. An empty
answer about an empty picture is worth 1.

Cheats: tiny boxes and boxes piled on one spot are worth 1 where their classes are right; one safe
box of n objects 2 / (n + 1). Duplicates and a giant box gain nothing. So its weight stays small.
"""

import numpy as np

from coordexp.evaluation.measure.instances import Bools, Floats, Ints, Objects
from coordexp.rewards.attempts import Attempts


def count(attempts: Attempts) -> Floats:
    """Return the term; it is defined for every answer."""
    instances = attempts.matches.instances
    width = instances.categories.bucket_id + 1
    true = _bags(instances.truth, instances.truth.counted, len(attempts), width)
    said = _bags(instances.predicted, attempts.judged, len(attempts), width)
    # What is no class is never true, so nothing of it is in both bags.
    both = np.minimum(true, said).reshape(len(attempts), width).sum(axis=1)
    share = attempts.share(both, instances.truth.counted, attempts.judged)
    return np.where(np.isnan(share), 1.0, share)


def _bags(objects: Objects, keep: Bools, answers: int, width: int) -> Ints:
    """Return how many objects of each class each answer has, in one row."""
    spots = objects.image[keep] * width + objects.category[keep]
    return np.bincount(spots, minlength=answers * width)
