"""The stage-1 objective: text as cross-entropy, coordinates as distributions.

- `distribution`: the math of one coordinate.
- `terms`: the list of what is made of it.
- `masks`: finds the coordinates in the labels.
- `contract`: the types that go in and out.
- `backends`: the readable reference, and faster ways to the same figures.
- `loss`: the one door to all of them.
"""

from coordexp.objective.contract import CoordWeights, Stage1Output, StepCounts
from coordexp.objective.loss import Backend, stage1_loss
from coordexp.objective.terms.coord_logits import CoordTarget

__all__ = ["Backend", "CoordTarget", "CoordWeights", "Stage1Output", "StepCounts", "stage1_loss"]
