"""Which part each group goes to.

The rarest class is dealt out first, since later ones can make up for the number of records but not
for it: each group that holds it goes where that class is short by most, of parts that are short
alike to the one that is short of records. What holds no class any more goes where records are
short. That is the iterative stratification of Sechidis, Tsoumakas and Vlahavas (2011), on groups,
but for one thing: a part that is full takes no more while another has room, so that the parts have
the sizes that were asked for.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that stay together.

    Args:
        lines: How many.
        classes: How many of them hold each class.
    """

    lines: int
    classes: Mapping[str, int]


def stratified(groups: Sequence[Group], shares: Sequence[float], *, seed: int) -> list[int]:
    """Return the part of each group.

    Args:
        groups: What is dealt out.
        shares: Of each part; together 1.
        seed: Decides where nothing else does.
    """
    deal = _Deal(groups, shares, seed)
    totals: Counter[str] = Counter()
    holders: dict[str, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        totals.update(group.classes)
        for name in group.classes:
            holders[name].append(place)
    for name in sorted(totals, key=lambda name: (totals[name], name)):
        deal.out(holders[name], name)
    deal.out(range(len(groups)), None)
    return deal.parts


class _Deal:
    def __init__(self, groups: Sequence[Group], shares: Sequence[float], seed: int) -> None:
        self._groups = groups
        self._shares = shares
        self._draw = random.Random(seed)
        self.parts = [-1] * len(groups)
        lines = sum(group.lines for group in groups)
        self._short = [share * lines for share in shares]
        classes: Counter[str] = Counter()
        for group in groups:
            classes.update(group.classes)
        self._short_of = [
            {name: share * count for name, count in classes.items()} for share in shares
        ]

    def out(self, places: Sequence[int], name: str | None) -> None:
        """Deal out those of some groups that have no part yet, the largest first."""
        left = [place for place in places if self.parts[place] < 0]
        self._draw.shuffle(left)
        left.sort(key=lambda place: -self._weight(place, name))
        for place in left:
            self._give(place, self._neediest(self._groups[place].lines, name))

    def _weight(self, place: int, name: str | None) -> int:
        group = self._groups[place]
        return group.lines if name is None else group.classes[name]

    def _neediest(self, lines: int, name: str | None) -> int:
        def need(part: int) -> tuple[float, float, float]:
            short = self._short[part]
            of_class = short if name is None else self._short_of[part][name]
            # Rounded, or 0.1 + 0.2 would decide between parts that are short alike.
            return round(of_class, 6), round(short, 6), self._draw.random()

        everywhere = range(len(self._shares))
        # Half a group over is as near as half a group under.
        with_room = [part for part in everywhere if self._short[part] >= lines / 2]
        return max(with_room or everywhere, key=need)

    def _give(self, place: int, part: int) -> None:
        group = self._groups[place]
        self.parts[place] = part
        self._short[part] -= group.lines
        for name, count in group.classes.items():
            self._short_of[part][name] -= count
