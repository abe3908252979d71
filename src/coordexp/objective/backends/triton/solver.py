"""The loss and its gradients on a GPU: chunks of rows, each with its logits.

Shapes: `n` rows of a chunk, `D` width, `V` vocabulary, `K` bins. A chunk's logits `[n, V]` are the
one large buffer, half a gigabyte whatever the number of tokens::

    x @ head.T  ->  logits  ->  gradient, in place  ->  @ head
       cuBLAS        one kernel, two sweeps            cuBLAS

A head in another type than the products (float32 under autocast) is converted once per call.
A term that the kernel lacks takes the whole call to plain torch, which knows every term.
Not covered: a CPU, unless Triton's interpreter is on.
"""

from collections import defaultdict

import torch
import triton
from jaxtyping import Bool, Float
from torch import Tensor

from coordexp.objective.backends.blocks import solve_in_blocks
from coordexp.objective.backends.problem import DIAGNOSTICS, Solution, SolverInputs
from coordexp.objective.backends.triton.coord import KERNEL_TERMS, coord_rows
from coordexp.objective.backends.triton.softmax_rows import softmax_rows
from coordexp.objective.backends.vocabulary_walk import tiles
from coordexp.objective.distribution import coord_gate

_LOGITS_BYTES = 1 << 29
_MOST_ROWS = 2048
# Rows of the buffer start at multiples of this many elements, which cuBLAS wants for its best.
_ALIGNMENT = 128


def solve_with_kernels(problem: SolverInputs) -> Solution:
    """Return the sums and the gradients.

    Raises:
        ValueError: When the tensors are on a device for which there are no kernels.
    """
    device = problem.hidden.device
    if device.type != "cuda" and not triton.knobs.runtime.interpret:
        raise ValueError(f"objective backend 'triton' needs a CUDA device, got {device}")
    if not KERNEL_TERMS.issuperset(problem.weights):
        return solve_in_blocks(problem)
    with torch.cuda.device_of(problem.hidden):
        work = _ChunkWork(problem)
        num_text, count = problem.rows.counts.text, len(problem.rows.index)
        for rows in tiles(0, num_text, work.chunk):
            work.text(rows)
        for rows in tiles(num_text, count, work.chunk):
            work.coord(rows)
        return Solution(
            work.sums(), work.text_hits(), work.hidden, work.coord_rows_gradient, work.head()
        )


class _ChunkWork:
    """The results as they come in, chunk by chunk.

    Args:
        problem: What is to be solved.
    """

    def __init__(self, problem: SolverInputs) -> None:
        self._problem = problem
        self._weight = problem.head_weight.to(problem.gemm_dtype)
        self._coord_rows = problem.coord_rows()
        self._parts: defaultdict[str, list[Tensor]] = defaultdict(list)

        vocab_size, width = self._weight.shape
        pitch = triton.cdiv(vocab_size, _ALIGNMENT) * _ALIGNMENT
        count, wanted = len(problem.rows.index), problem.wanted
        fitting = _LOGITS_BYTES // (pitch * problem.gemm_dtype.itemsize)
        self.chunk = max(min(fitting // _ALIGNMENT * _ALIGNMENT, _MOST_ROWS, count), 1)
        self._buffer = self._weight.new_empty((self.chunk, pitch))[:, :vocab_size]
        # Not yet multiplied by what a row counts, so the type of the products has the range.
        self.hidden = self._weight.new_empty((count, width)) if wanted.hidden else None
        self._head = torch.zeros_like(self._weight) if wanted.head else None
        self.coord_rows_gradient: Tensor | None = None
        if wanted.offset or wanted.head:
            self.coord_rows_gradient = torch.zeros_like(self._coord_rows, dtype=problem.sum_dtype)

    def sums(self) -> dict[str, Float[Tensor, ""]]:
        """Return the sums over all rows."""
        return {name: self._all(name).sum() for name in (*self._problem.terms, *DIAGNOSTICS)}

    def text_hits(self) -> Bool[Tensor, " M"]:
        """Return which text rows have the highest logit at their target."""
        return self._all("text_correct").bool()

    def _all(self, name: str) -> Float[Tensor, " n"]:
        like = self._weight.new_empty(0, dtype=self._problem.sum_dtype)
        return torch.cat([like, *self._parts[name]])

    def head(self) -> Float[Tensor, "V D"] | None:
        """Return the head's gradient."""
        if self._head is not None and self.coord_rows_gradient is not None:
            self._head[self._problem.coord_ids] = self.coord_rows_gradient.to(self._head.dtype)
        return self._head

    def text(self, rows: slice) -> None:
        """Take in a chunk of text rows."""
        x = self._problem.gather(rows)
        s, z = self._coord_logits(x), self._logits(x)
        inner = s.logsumexp(-1)
        targets = self._problem.rows.targets[rows]
        wanted = self._wants_logit_gradient()
        outer = softmax_rows(z, inner, targets, factor=1.0, gradient=wanted)
        lse = torch.logaddexp(outer.lse, inner)
        top = outer.top.maximum(s.amax(-1)) if len(self._coord_rows) else outer.top
        self._parts["text"].append(lse - outer.target)
        self._parts["text_correct"].append((outer.target >= top).to(s.dtype))
        self._gradients(rows, x, (s - lse[:, None]).exp(), z, coord=False)

    def coord(self, rows: slice) -> None:
        """Take in a chunk of coord rows; without a weight the gate is looked at and not learned."""
        problem = self._problem
        x = problem.gather(rows)
        s = self._coord_logits(x)
        z, inner = self._logits(x), s.logsumexp(-1)
        weight = problem.weights["gate"]
        wanted = weight > 0 and self._wants_logit_gradient()
        outer = softmax_rows(z, inner, None, factor=weight, gradient=wanted)
        gate = coord_gate(outer.lse, inner)
        self._parts["gate"].append(gate)
        self._parts["coord_mass"].append((-gate).exp())
        leak = (outer.lse - inner).sigmoid() if weight else None
        first = problem.rows.counts.text
        bins = problem.rows.bins[rows.start - first : rows.stop - first]
        terms, slope = coord_rows(s, bins, leak, weights=problem.weights, target=problem.target)
        for name, values in terms.items():
            self._parts[name].append(values)
        self._parts["p_gt"].append((-terms["ce"]).exp())
        self._gradients(rows, x, slope, z if weight else None, coord=True)

    def _wants_logit_gradient(self) -> bool:
        return self._problem.wanted.hidden or self._problem.wanted.head

    def _coord_logits(self, x: Float[Tensor, "n D"]) -> Float[Tensor, "n K"]:
        return (x @ self._coord_rows.T).to(self._problem.sum_dtype)

    def _logits(self, x: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
        z = torch.mm(x, self._weight.T, out=self._buffer[: len(x)])
        return z.index_fill_(1, self._problem.coord_ids, -torch.inf)

    def _gradients(
        self,
        rows: slice,
        x: Float[Tensor, "n D"],
        slope: Float[Tensor, "n K"],
        z: Float[Tensor, "n V"] | None,
        *,
        coord: bool,
    ) -> None:
        """Take in what a chunk does to the gradients.

        Args:
            rows: Where the chunk is.
            x: Its hidden states.
            slope: Gradient with respect to the coord logits of a row that counts 1.
            z: The same for all other logits; None where they play no part.
            coord: Which kind of rows they are.
        """
        scale = self._problem.scale(coord=coord)
        low = slope.to(x.dtype)
        if self.coord_rows_gradient is not None:
            self.coord_rows_gradient.add_(low.T @ x, alpha=scale)
        if self._head is not None and z is not None:
            self._head.addmm_(z.T, x, alpha=scale)
        if self.hidden is None:
            return
        gradient = torch.mm(low, self._coord_rows, out=self.hidden[rows])
        if z is not None:
            gradient.addmm_(z, self._weight)
        if coord and self._problem.target.temperature != 1:
            gradient /= self._problem.target.temperature
