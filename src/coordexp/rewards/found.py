"""How much was found: F1 of each answer, the mean over COCO's ten IoU thresholds.

Matching is the evaluator's: within a class, in the order of the answer, crowds and what was not
searched for excused. The mean over thresholds (Lin et al., ECCV 2014, take it for average
precision) pays for a better box where it is good enough already. An empty answer about an empty
picture is worth 1.

Cheats: none is known; it is the figure itself. Tiny boxes and one giant box find nothing, one safe
box of n objects is worth 2 / (n + 1) at most, a duplicate is a false positive. What it lacks is a
slope: below an overlap of a half all boxes are worth nothing, so a policy that finds nothing learns
nothing from it.
"""

import numpy as np

from coordexp.evaluation.measure.instances import Floats
from coordexp.rewards.attempts import Attempts


def found(attempts: Attempts) -> Floats:
    """Return the term; it is defined for every answer."""
    f1 = attempts.tally.f1()
    worth: Floats = np.where(np.isnan(f1), 1.0, f1).mean(axis=0)
    return worth
