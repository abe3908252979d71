"""Which examples share a pack: best fit over a buffer that moves along the stream of examples.

A *pack* is a row of `capacity` tokens that holds several examples. The example that waits longest
opens it, the next ones follow in their order, and the last gap is closed by best fit: the longest
example of the buffer that fits, again and again. The buffer is refilled after each example taken::

    stream ... 310 ->  buffer (oldest first) 700, 350, 150, 300      capacity 1000
    open with 700; of 350, 150, 300 and 310, 300 fits best:          pack 700, 300
    open with 350; the others follow in their order:                 pack 350, 150, 310

Nothing starves, for every pack takes the oldest. Time grows with the number of examples, memory
beyond the lengths with the buffer.

Best fit from the start would take every long example first, and leave the buffer to short ones of
one size, which close gaps badly: 97.0 % instead of 99.5 % full on LVIS-like lengths.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# The last gap, as a multiple of the mean waiting example. Between 1.2 and 2 the fill is within a
# percent of the best on every distribution tried; below, the gap is often too short for any.
_LAST_GAP = 1.5


@dataclass(frozen=True, slots=True)
class Packs:
    """The packs of one stream.

    Args:
        members: Places in the stream, pack by pack.
        tail: Number of the first pack that was opened when the stream had ended. From there on
            packs may stay emptier, for want of examples to choose from.
    """

    members: list[list[int]]
    tail: int


def pack_best_fit(lengths: Sequence[int], *, capacity: int, buffer: int) -> Packs:
    """Return packs that hold every example exactly once.

    Args:
        lengths: Tokens of each example, in the order of the stream.
        capacity: Most tokens of a pack.
        buffer: How many examples are looked at together.

    Raises:
        ValueError: If an example is empty or longer than a pack.

    Example:
        >>> pack_best_fit([700, 350, 150, 300, 310], capacity=1000, buffer=4).members
        [[0, 3], [1, 2, 4]]
    """
    if lengths and not 0 < min(lengths) <= max(lengths) <= capacity:
        raise ValueError(
            f"expected 1 to {capacity} tokens, got {min(lengths)} to {max(lengths)} of them"
        )
    waiting = _Buffer(lengths, buffer)
    members: list[list[int]] = []
    tail = None
    while waiting:
        if tail is None and waiting.is_last:
            tail = len(members)
        members.append(list(waiting.fill(capacity)))
    return Packs(members=members, tail=len(members) if tail is None else tail)


class _Buffer:
    """Waiting examples, sorted by length, then those first that have waited less."""

    def __init__(self, lengths: Sequence[int], size: int) -> None:
        self._lengths = lengths
        # One integer for length and age is sorted and searched several times faster than a pair.
        self._many = len(lengths)
        self._keys: list[int] = []
        self._taken = bytearray(len(lengths))
        self._oldest = self._next = self._tokens = 0
        for _ in range(min(size, self._many)):
            self._let_in()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def is_last(self) -> bool:
        """Whether the stream has ended."""
        return self._next == self._many

    def fill(self, room: int) -> Iterator[int]:
        """Take out what one pack holds."""
        opened = False
        while self._keys and (not opened or room * len(self) > _LAST_GAP * self._tokens):
            place = self._place_of_oldest()
            if self._lengths[place] > room:
                break
            room -= self._lengths[place]
            yield self._take(bisect_left(self._keys, self._key(place)))
            opened = True
        while after := bisect_right(self._keys, (room + 1) * self._many - 1):
            place = self._take(after - 1)
            room -= self._lengths[place]
            yield place

    def _place_of_oldest(self) -> int:
        while self._taken[self._oldest]:
            self._oldest += 1
        return self._oldest

    def _key(self, place: int) -> int:
        return self._lengths[place] * self._many + self._many - 1 - place

    def _take(self, position: int) -> int:
        place = self._many - 1 - self._keys.pop(position) % self._many
        self._taken[place] = 1
        self._tokens -= self._lengths[place]
        if not self.is_last:
            self._let_in()
        return place

    def _let_in(self) -> None:
        insort(self._keys, self._key(self._next))
        self._tokens += self._lengths[self._next]
        self._next += 1
