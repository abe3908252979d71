"""Who points better, in words that the interval supports.

The interval is over held-out pictures: with others of the same kind the difference would lie there
19 times of 20. It is one training each, so it says nothing of other seeds; docs/study.md does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coordexp.evaluation.measure.bootstrap import FIGURES
from coordexp.lab.compare import Difference, difference
from coordexp.quickstart.contender import Contender

MAIN = "AP"

_ONLY_SEED = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How two contenders compare, figure by figure.

    Args:
        differences: By figure.
    """

    differences: Mapping[str, Difference]

    def sign(self, figure: str) -> int:
        """Return 1 where the first is ahead, -1 where it is behind, 0 where nobody can tell."""
        found = self.differences[figure].interval
        if found is None:
            return 0
        low, high = found
        return int(low > 0) - int(high < 0)

    def headline(self) -> str:
        """Return the page's first line: who wins, by how much, and how sure that is."""
        main = self.differences[MAIN]
        gap = main.this - main.other
        if main.interval is None:
            return "Coord tokens do not win: there is nothing to measure"
        low, high = main.interval
        if low > 0:
            return f"Coord tokens beat integers by {gap:.3f} {MAIN} ({low:.3f} to {high:.3f})"
        if high < 0:
            return (
                f"Coord tokens do not win: integers are {-gap:.3f} {MAIN} ahead "
                f"({-high:.3f} to {-low:.3f})"
            )
        place = "ahead of" if gap > 0 else "behind"
        return (
            f"Coord tokens do not win: {abs(gap):.3f} {MAIN} {place} integers is too little "
            f"to tell ({low:+.3f} to {high:+.3f})"
        )


def compare_contenders(this: Contender, other: Contender) -> Outcome:
    """Return how one contender compares with another on the same pictures."""
    one, two = {_ONLY_SEED: this.drawn}, {_ONLY_SEED: other.drawn}
    found = {figure: difference(one, two, figure) for figure in FIGURES}
    return Outcome({name: gap for name, gap in found.items() if gap is not None})
