"""The stage-1 objective: text as cross-entropy, coordinates as distributions.

`distribution` is the math of one coordinate, `masks` finds the coordinates in the labels, `terms`
holds the types that go in and out, `stage1` is the readable reference and `loss` the one door to it
and to every faster backend.
"""

from coordexp.objective.loss import Backend, stage1_loss
from coordexp.objective.terms import CoordTarget, CoordWeights, Stage1Output, StepCounts

__all__ = ["Backend", "CoordTarget", "CoordWeights", "Stage1Output", "StepCounts", "stage1_loss"]
