r"""The loss and its gradients from blocks of the vocabulary, in plain torch.

Shapes: `n` rows of a tile, `D` width, `V` vocabulary, `K` bins. Text rows and coord rows take the
walk outside the coord vocabulary together; then each kind adds its coord logits. With a and c the
logsumexp of the outer and of the coord logits, the outer part's share is :math:`\sigma(a - c)`, and

- text: :math:`-\log p_y = \log(e^a + e^c) - z_y`,
- gate: :math:`\log(1 + e^{a - c})`, every digit of it, since the parts come separately.

Without a weight on a term that needs the outside, coord rows take the walk without gathering the
mean: the gate and the mass inside the coord vocabulary are figures then, and cost one product in
place of two.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from coordexp.objective.backends.coord_rows import solve_coord_terms
from coordexp.objective.backends.problem import DIAGNOSTICS, Solution, SolverInputs
from coordexp.objective.backends.vocabulary_walk import (
    Head,
    tiles,
    vocabulary_blocks,
    walk_head_gradient,
    walk_vocabulary,
)
from coordexp.objective.terms.coord_logits import read_coord_logits


@dataclass(frozen=True, slots=True)
class Sizes:
    """How the work is cut.

    Args:
        chunk: Rows whose hidden states and gradients are held at once.
        height: Rows of a tile of logits.
        width: Columns of a tile of logits.
        coord_height: Rows of a tile of coord logits, of which there are several at once.
    """

    chunk: int
    height: int
    width: int
    coord_height: int


# A CPU tile of float32 takes 4 MB, near enough to the processor that its exponentials cost 3 % of
# its products (so compiling them into one loop would gain next to nothing); elsewhere fewer and
# larger launches win.
CPU_SIZES = Sizes(chunk=1024, height=1024, width=1024, coord_height=256)
OTHER_SIZES = Sizes(chunk=2048, height=2048, width=8192, coord_height=2048)


def solve_in_blocks(problem: SolverInputs) -> Solution:
    """Return the sums and the gradients."""
    sizes = CPU_SIZES if problem.hidden.device.type == "cpu" else OTHER_SIZES
    work = _BlockWork(problem, sizes)
    num_text, count = problem.rows.counts.text, len(problem.rows.index)
    taught = count if problem.weights.teach_outside else num_text
    for rows in tiles(0, taught, sizes.chunk):
        work.walk(rows, taught=True)
    for rows in tiles(taught, count, sizes.chunk):
        work.walk(rows, taught=False)
    head = work.head_gradient(taught) if problem.wanted.head else None
    return Solution(work.sums(), work.text_hits(), work.hidden, work.coord_rows_gradient, head)


class _BlockWork:
    """The results as they come in, tile by tile.

    Args:
        problem: What is to be solved.
        sizes: How it is cut.
    """

    def __init__(self, problem: SolverInputs, sizes: Sizes) -> None:
        self._problem = problem
        self._sizes = sizes
        blocks = vocabulary_blocks(len(problem.head_weight), problem.coord_ids, sizes.width)
        self._head = Head(problem.head_weight, blocks, problem.gemm_dtype)
        self._coord_rows = problem.coord_rows()
        self._parts: defaultdict[str, list[Tensor]] = defaultdict(list)

        count, width = len(problem.rows.index), problem.hidden.shape[1]
        self._like = problem.hidden.new_empty(0, dtype=problem.sum_dtype)
        # logsumexp outside the coord vocabulary, less the logarithm of what the row counts there
        self._log_normaliser = self._like.new_empty(count)
        wanted = problem.wanted
        self.hidden = self._like.new_empty((count, width)) if wanted.hidden else None
        self.coord_rows_gradient: Tensor | None = None
        if wanted.offset or wanted.head:
            self.coord_rows_gradient = torch.zeros_like(self._coord_rows, dtype=problem.sum_dtype)

    def sums(self) -> dict[str, Float[Tensor, ""]]:
        """Return the sums over all rows."""
        return {
            name: torch.cat([self._like, *self._parts[name]]).sum()
            for name in (*self._problem.terms, *DIAGNOSTICS)
        }

    def text_hits(self) -> Bool[Tensor, " M"]:
        """Return which text rows have the highest logit at their target."""
        return torch.cat([self._like, *self._parts["text_correct"]]).bool()

    def walk(self, rows: slice, *, taught: bool) -> None:
        """Take in a chunk of rows, text before coord.

        Args:
            rows: Where the chunk is.
            taught: Whether anything outside the coord vocabulary learns from it.
        """
        problem = self._problem
        targets = problem.rows.targets[rows]
        x = problem.gather(rows)
        walk = walk_vocabulary(
            x,
            targets,
            self._head,
            height=self._sizes.height,
            mean=None if self.hidden is None or not taught else self.hidden[rows],
            sum_dtype=problem.sum_dtype,
        )
        for tile in tiles(0, len(targets), self._sizes.coord_height):
            top = walk.top[tile]
            self._text(_shift(tile, rows.start), x[tile], walk.lse[tile], top, walk.target[tile])
        for tile in tiles(len(targets), len(x), self._sizes.coord_height):
            self._coord(_shift(tile, rows.start), x[tile], walk.lse[tile])

    def _text(self, rows: slice, x: Tensor, outer: Tensor, top: Tensor, target: Tensor) -> None:
        s = self._coord_logits(x)
        lse = torch.logaddexp(outer, s.logsumexp(-1))
        if len(self._coord_rows):
            top = top.maximum(s.amax(-1))
        self._parts["text"].append(lse - target)
        self._parts["text_correct"].append((target >= top).to(s.dtype))
        slope = (s - lse[:, None]).exp()
        self._gradients(rows, x, slope, outer, (outer - lse).exp(), coord=False)

    def _coord(self, rows: slice, x: Tensor, outer: Tensor) -> None:
        s = self._coord_logits(x)
        first = self._problem.rows.counts.text
        bins = self._problem.rows.bins[_shift(rows, -first)]
        coords = read_coord_logits(
            s, bins, inner=s.logsumexp(-1), outer=outer, target=self._problem.target
        )
        solved = solve_coord_terms(coords, self._problem.weights)
        for name, values in solved.values.items():
            self._parts[name].append(values)
        self._gradients(rows, x, solved.gradient, outer, solved.by_outer, coord=True)

    def _coord_logits(self, x: Float[Tensor, "n D"]) -> Float[Tensor, "n K"]:
        return (x @ self._coord_rows.T).to(self._problem.sum_dtype)

    def _gradients(
        self,
        rows: slice,
        x: Float[Tensor, "n D"],
        slope: Float[Tensor, "n K"],
        outer: Float[Tensor, " n"],
        share: Float[Tensor, " n"] | None,
        *,
        coord: bool,
    ) -> None:
        """Take in what a tile does to the gradients.

        Args:
            rows: Where the tile is.
            x: Its hidden states.
            slope: Gradient with respect to the coord logits of a row that counts 1.
            outer: logsumexp outside the coord vocabulary.
            share: How much the softmax out there takes part in the gradient; None for no part.
            coord: Which kind of rows they are.
        """
        problem = self._problem
        scale = problem.scale(coord=coord)
        low = slope.to(x.dtype)
        if self.coord_rows_gradient is not None:
            _add_product(self.coord_rows_gradient, low.T, x, scale)
        if share is not None:
            self._log_normaliser[rows] = outer - (share * scale).log()
        if self.hidden is None:
            return
        gradient = (low @ self._coord_rows).to(slope.dtype)
        if share is not None:
            gradient.addcmul_(self.hidden[rows], share[:, None])
        if coord:
            gradient /= problem.target.temperature
        else:
            gradient -= problem.head_weight.index_select(0, problem.rows.targets[rows])
        self.hidden[rows] = gradient

    def head_gradient(self, taught: int) -> Float[Tensor, "V D"]:
        """Return the head's gradient, from a second walk by the first `taught` rows."""
        problem = self._problem
        gradient = torch.zeros_like(problem.head_weight)
        walk_head_gradient(
            problem.gather(slice(0, taught)),
            self._log_normaliser[:taught],
            problem.rows.targets,
            -problem.scale(coord=False),
            self._head,
            height=self._sizes.height,
            out=gradient,
        )
        if self.coord_rows_gradient is not None:
            gradient[problem.coord_ids] = self.coord_rows_gradient.to(gradient.dtype)
        return gradient


def _add_product(out: Tensor, a: Tensor, b: Tensor, scale: float) -> None:
    if out.dtype == b.dtype:
        out.addmm_(a, b, alpha=scale)
    else:
        out.add_(a @ b, alpha=scale)


def _shift(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by)
