r"""The softmax over everything outside the coord vocabulary, one block of columns at a time.

Shapes: `n` rows, `D` width, `V` vocabulary, `W` columns of a block. A block's logits live in a tile
that fits the processor's cache, are turned into exponentials in place, and are multiplied by the
block's head rows at once::

    head weight   [ block | block | coord ids, skipped | block | .. ]
                     |
    rows  x @ block.T  ->  tile  ->  max, exp, sum  ->  tile @ block  added to [n, D]

so that nothing of size `[n, V]` is ever stored and nothing is computed twice. The gradient of the
head itself needs the final normaliser and therefore a second walk.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class VocabularyBlock:
    """Columns `start` to `stop` of the vocabulary; `coord` are the coord ids among them."""

    start: int
    stop: int
    coord: Int[Tensor, " M"] | None


def vocabulary_blocks(
    vocab_size: int, coord_ids: Int[Tensor, " K"], width: int
) -> list[VocabularyBlock]:
    """Return the blocks that cover everything outside the coord vocabulary.

    Contiguous coord ids, the usual case, are left out altogether; scattered ones are masked inside
    their blocks.

    Example:
        >>> [(b.start, b.stop) for b in vocabulary_blocks(10, torch.tensor([5, 6]), 4)]
        [(0, 4), (4, 5), (7, 10)]
    """
    ids = coord_ids.tolist()
    if not ids:
        return _cut(0, vocab_size, width)
    if ids == list(range(ids[0], ids[0] + len(ids))):
        return _cut(0, ids[0], width) + _cut(ids[-1] + 1, vocab_size, width)
    blocks = []
    for block in _cut(0, vocab_size, width):
        inside = coord_ids[(coord_ids >= block.start) & (coord_ids < block.stop)] - block.start
        if len(inside) < block.stop - block.start:
            blocks.append(VocabularyBlock(block.start, block.stop, inside if len(inside) else None))
    return blocks


def _cut(start: int, stop: int, width: int) -> list[VocabularyBlock]:
    return [VocabularyBlock(a, min(a + width, stop), None) for a in range(start, stop, width)]


@dataclass(frozen=True, slots=True)
class Head:
    """The head as the walk sees it.

    Args:
        weight: All rows.
        blocks: What to walk.
        dtype: Of the products; rows are converted block by block.
    """

    weight: Float[Tensor, "V D"]
    blocks: list[VocabularyBlock]
    dtype: torch.dtype

    def __iter__(self) -> Iterator[tuple[VocabularyBlock, Tensor]]:
        """Yield each block with its rows, which are good until the next one."""
        width = max((b.stop - b.start for b in self.blocks), default=0)
        converted = self.weight.new_empty((width, self.weight.shape[1]), dtype=self.dtype)
        for block in self.blocks:
            rows = self.weight[block.start : block.stop]
            if rows.dtype != self.dtype:
                rows = converted[: len(rows)].copy_(rows)
            yield block, rows

    def targets_of_blocks(self, targets: Int[Tensor, " M"]) -> list[tuple[int, int]]:
        """Return, for each block, which of the ascending targets fall into it."""
        starts = torch.tensor([b.start for b in self.blocks], device=targets.device)
        stops = torch.tensor([b.stop for b in self.blocks], device=targets.device)
        first = torch.searchsorted(targets, starts).tolist()
        last = torch.searchsorted(targets, stops).tolist()
        return list(zip(first, last, strict=True))


def tiles(start: int, stop: int, height: int) -> Iterator[slice]:
    """Yield slices of at most `height` that cover `start` to `stop`."""
    for a in range(start, stop, height):
        yield slice(a, min(a + height, stop))


class Softmax:
    """A running softmax over blocks of logits, and the mean of the head rows under it.

    Exponentials are taken relative to a logit close to the largest seen, and everything is rescaled
    once a much larger one appears: `slack` nats larger in float32, which has range to spare, any
    larger in types that have not.

    Args:
        like: A vector with an element per row; gives the device and the type of the sums.
        mean: Receives the mean of the head rows; None where it is not wanted.
        slack: See above.
    """

    def __init__(
        self, like: Float[Tensor, " n"], mean: Float[Tensor, "n D"] | None, *, slack: float
    ) -> None:
        self.top = torch.full_like(like, -torch.inf)
        self._origin = self.top.clone()
        self._total = torch.zeros_like(like)
        self._weighted = None if mean is None else mean.zero_()
        self._slack = slack

    def add(self, rows: slice, z: Float[Tensor, "n W"], head_rows: Float[Tensor, "W D"]) -> None:
        """Take in the logits of a block; `z` is overwritten."""
        scores = z.to(self.top.dtype)
        top = scores.amax(-1)
        self.top[rows] = self.top[rows].maximum(top)
        if bool((top > self._origin[rows] + self._slack).any()):
            self._rescale(rows, top)
        scores.sub_(self._origin[rows, None]).exp_()
        self._total[rows] += scores.sum(-1)
        if self._weighted is None:
            return
        if scores.dtype == head_rows.dtype:
            self._weighted[rows].addmm_(scores, head_rows)
        else:
            self._weighted[rows] += z.copy_(scores) @ head_rows

    def _rescale(self, rows: slice, top: Float[Tensor, " n"]) -> None:
        origin = self._origin[rows].maximum(top)
        shrink = (self._origin[rows] - origin).exp()
        self._origin[rows] = origin
        self._total[rows] *= shrink
        if self._weighted is not None:
            self._weighted[rows] *= shrink[:, None]

    def lse(self) -> Float[Tensor, " n"]:
        """Return the logsumexp of all logits so far."""
        return self._origin + self._total.log()

    def finish_mean(self) -> None:
        """Normalise the mean of the head rows; nothing may be added any more."""
        if self._weighted is not None:
            self._weighted /= self._total[:, None]


@dataclass(frozen=True, slots=True)
class OutsideWalk:
    """What a walk finds out about each row, looking outside the coord vocabulary only.

    Args:
        lse: logsumexp of the logits.
        top: The largest logit.
        target: The target's logit, from the very product that `top` comes from; text rows only.
    """

    lse: Float[Tensor, " n"]
    top: Float[Tensor, " n"]
    target: Float[Tensor, " M"]


def walk_vocabulary(
    x: Float[Tensor, "n D"],
    targets: Int[Tensor, " M"],
    head: Head,
    *,
    height: int,
    mean: Float[Tensor, "n D"] | None,
    sum_dtype: torch.dtype,
) -> OutsideWalk:
    """Return the softmax of each row outside the coord vocabulary.

    Args:
        x: Hidden states, text rows first.
        targets: Of the text rows, ascending, none of them a coord id.
        head: What to walk.
        height: Rows of a tile.
        mean: Receives the mean of the head rows under the softmax; None without gradients.
        sum_dtype: Of sums and results.
    """
    slack = 16.0 if head.dtype == sum_dtype else 0.0
    softmax = Softmax(x.new_empty(len(x), dtype=sum_dtype), mean, slack=slack)
    target = x.new_empty(len(targets), dtype=sum_dtype)
    buffer = x.new_empty(0)
    found = head.targets_of_blocks(targets)
    for (block, head_rows), (first, last) in zip(head, found, strict=True):
        for rows in tiles(0, len(x), height):
            z, buffer = _logits(x[rows], head_rows, block, buffer)
            here = slice(max(first, rows.start), min(last, rows.stop))
            if here.start < here.stop:
                column = (targets[here] - block.start)[:, None]
                target[here] = _shift(z, here, rows).gather(1, column)[:, 0].to(sum_dtype)
            softmax.add(rows, z, head_rows)
    softmax.finish_mean()
    return OutsideWalk(softmax.lse(), softmax.top, target)


def walk_head_gradient(
    x: Float[Tensor, "n D"],
    log_normaliser: Float[Tensor, " n"],
    targets: Int[Tensor, " M"],
    target_value: float,
    head: Head,
    *,
    height: int,
    out: Float[Tensor, "V D"],
) -> None:
    """Write the gradient of the head rows outside the coord vocabulary: the second walk.

    The gradient of the loss with respect to a logit is its exponential over the row's normaliser,
    and `target_value` more at the target.

    Args:
        x: Hidden states, text rows first.
        log_normaliser: logsumexp of the row, less the logarithm of what the row counts.
        targets: Of the text rows, ascending.
        target_value: See above.
        head: What to walk.
        height: Rows of a tile.
        out: Receives the gradient; rows of coord ids are left alone.
    """
    buffer = x.new_empty(0)
    found = head.targets_of_blocks(targets)
    for (block, head_rows), (first, last) in zip(head, found, strict=True):
        total = torch.zeros_like(head_rows, dtype=log_normaliser.dtype)
        for rows in tiles(0, len(x), height):
            z, buffer = _logits(x[rows], head_rows, block, buffer)
            slope = z.to(log_normaliser.dtype).sub_(log_normaliser[rows, None]).exp_()
            here = slice(max(first, rows.start), min(last, rows.stop))
            if here.start < here.stop:
                column = (targets[here] - block.start)[:, None]
                value = slope.new_full(column.shape, target_value)
                _shift(slope, here, rows).scatter_add_(1, column, value)
            total += slope.to(x.dtype).T @ x[rows]
        written = out[block.start : block.stop]
        if block.coord is not None:
            total[block.coord] = 0
        written.copy_(total)


def _logits(
    x: Float[Tensor, "n D"], head_rows: Float[Tensor, "W D"], block: VocabularyBlock, buffer: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the logits of a tile, and the buffer they are in, which the next tile takes over."""
    size = len(x) * len(head_rows)
    if buffer.numel() < size:
        buffer = x.new_empty(size)
    z = torch.mm(x, head_rows.T, out=buffer[:size].view(len(x), len(head_rows)))
    if block.coord is not None:
        z.index_fill_(1, block.coord, -torch.inf)
    return z, buffer


def _shift(tile: Tensor, here: slice, rows: slice) -> Tensor:
    return tile[here.start - rows.start : here.stop - rows.start]
