"""The terms of a coordinate's loss, a module each, and the one list of them.

`term` says what a term is, `coord_logits` what it sees. `cross_entropy`, `soft_cross_entropy`,
`wasserstein` and `gate` are the terms. Backends, log, progress bar, doctor and page walk `TERMS`; a
term that is appended to it is everywhere at once, with the weight that `CoordWeights` names.
"""

from coordexp.objective.terms.cross_entropy import CE
from coordexp.objective.terms.gate import GATE
from coordexp.objective.terms.soft_cross_entropy import SOFT_CE
from coordexp.objective.terms.term import Term
from coordexp.objective.terms.wasserstein import W1

TERMS: list[Term] = [CE, SOFT_CE, W1, GATE]
"""In the order in which they are added up and shown; read it where it is used, never copy it."""
