"""Several files as one sequence of samples, and how much each of them counts in an epoch.

A *weight* says how often an epoch holds each sample of a file: once with 1; in 0.5 every epoch
draws half of the file, another half each time; with 2.5 every sample comes twice and half of them a
third time. So a file of `n` samples gives exactly `round(weight * n)` to every epoch, half up, and
its share of the epoch is `weight * n` over the sum of these. A sample comes at most `ceil(weight)`
times in an epoch: nothing repeats unless a weight above 1 asks for it.

Which samples an epoch holds, and in which order, is a pure function of seed and epoch. To go on
after a kill, ask for the same epoch again and start at the same position.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol, overload

import numpy as np
from typing_extensions import override

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.chat import Sample
from coordexp.data.files.jsonl import SampleFile


class Samples(Protocol):
    """What training reads: samples, and where each of them stands."""

    @property
    def name(self) -> str:
        """The file or files, for messages."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...
    def __iter__(self) -> Iterator[Sample]: ...
    def root_of(self, index: int) -> Path:
        """Return the folder that the sample's image paths are relative to."""
        ...

    def place_of(self, index: int) -> tuple[Path, int]:
        """Return file and 1-based line of a sample."""
        ...


class Mix(Sequence[Sample]):
    """Files one after the other; an index counts through all of them.

    Args:
        files: Their order is part of what a seed means.
    """

    def __init__(self, files: Sequence[SampleFile]) -> None:
        self.files = tuple(files)
        self.starts = (0, *accumulate(map(len, files)))

    @classmethod
    def open(cls, paths: Sequence[Path], alphabet: CoordAlphabet) -> "Mix":
        """Return the mix of some JSONL files of records and chats.

        Raises:
            InputError: If one of them cannot be read, or is empty.
        """
        return cls([SampleFile(path, alphabet) for path in paths])

    @property
    def name(self) -> str:
        """The files, for messages."""
        return ", ".join(file.name for file in self.files)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Samples in each file."""
        return tuple(map(len, self.files))

    @override
    def __len__(self) -> int:
        return self.starts[-1]

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    @override
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        """Return one sample.

        Raises:
            RecordError: If the line breaks the contract; it names file and line.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        file, line = self._split(index)
        return file[line]

    @override
    def __iter__(self) -> Iterator[Sample]:
        """Yield every sample; each file is read in one go."""
        for file in self.files:
            yield from file

    def split(self, indices: Sequence[int]) -> list[Sequence[int]]:
        """Return ascending indices file by file."""
        cuts = [bisect_left(indices, start) for start in self.starts]
        return [indices[first:last] for first, last in pairwise(cuts)]

    def root_of(self, index: int) -> Path:
        """Return the folder that the sample's image paths are relative to."""
        return self._split(index)[0].root

    def place_of(self, index: int) -> tuple[Path, int]:
        """Return file and 1-based line of a sample."""
        file, line = self._split(index)
        return file.place_of(line)

    def _split(self, index: int) -> tuple[SampleFile, int]:
        index = range(len(self))[index]
        part = bisect_right(self.starts, index) - 1
        return self.files[part], index - self.starts[part]


@dataclass(frozen=True)
class MixedOrder:
    """Which samples of a mix an epoch holds, and in which order.

    Args:
        parts: The samples of each file that may be drawn, as indices into the mix.
        weights: How often an epoch holds each of them, file by file.
        seed: Of the draw and the order.

    Example:
        >>> order = MixedOrder([range(4), range(4, 6)], [0.5, 2], seed=0)
        >>> order.count(0), sorted(order.records(0))[-4:]
        (6, [4, 4, 5, 5])
    """

    parts: Sequence[Sequence[int]]
    weights: Sequence[float]
    seed: int

    def records(self, epoch: int) -> Sequence[int]:
        """Return the epoch's samples in their order, the same whenever it is asked."""
        drawn = np.concatenate([self._drawn(part, epoch) for part in range(len(self.parts))])
        chosen: list[int] = np.random.default_rng([self.seed, epoch]).permutation(drawn).tolist()
        return chosen

    def count(self, epoch: int) -> int:  # noqa: ARG002 - the same in every epoch
        """Return how many there are."""
        return sum(map(self._seats, range(len(self.parts))))

    def _seats(self, part: int) -> int:
        return int(self.weights[part] * len(self.parts[part]) + 0.5)

    def _drawn(self, part: int, epoch: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        samples = np.asarray(self.parts[part], dtype=np.int64)
        if not len(samples):
            return samples
        times, rest = divmod(self._seats(part), len(samples))
        # The seed of a file's draw is longer than that of the order, so that the two never agree.
        random = np.random.default_rng([self.seed, epoch, part, 1])
        return np.concatenate([np.tile(samples, times), random.permutation(samples)[:rest]])
