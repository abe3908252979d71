"""The stage-1 loss without logits: from hidden states to a scalar that knows its gradients.

Shapes: `T` tokens, `D` width, `V` vocabulary, `K` bins. A *solver* computes the sums and the
gradients together, in one pass over the vocabulary (`blocks` in plain torch, `triton` on a
GPU). What is left for autograd is to hand the finished gradients out, so that the loss is an
ordinary differentiable tensor for checkpointing, DDP, FSDP and PEFT. A second derivative is not
available, and asking for one raises.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx, once_differentiable
from typing_extensions import override

from coordexp.objective.backends.problem import (
    DIAGNOSTICS,
    Solution,
    Solver,
    SolverInputs,
    Wanted,
    supervised_rows,
)
from coordexp.objective.contract import LossInputs, Stage1Output

# Rows of hidden states whose gradient is scaled and put in place at once.
_ROWS_AT_ONCE = 256


def solved_stage1_loss(inputs: LossInputs, solver: Solver) -> Stage1Output:
    """Return the loss as `solver` computes it."""
    hidden, head_weight, head_offset = inputs.hidden, inputs.head_weight, inputs.head_offset
    rows = supervised_rows(inputs.labels, inputs.coord_ids, len(head_weight))
    problem = SolverInputs(
        hidden=hidden.detach(),
        head_weight=head_weight.detach(),
        head_offset=None if head_offset is None else head_offset.detach(),
        coord_ids=inputs.coord_ids,
        rows=rows,
        weights=inputs.weights,
        target=inputs.target,
        over=inputs.denominators or rows.counts,
        wanted=Wanted(
            hidden=_is_wanted(hidden), head=_is_wanted(head_weight), offset=_is_wanted(head_offset)
        ),
        gemm_dtype=_gemm_dtype(hidden),
    )
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        solution = solver(problem)
    loss = _weighted(problem, solution)
    if torch.is_grad_enabled():
        loss = _HandOut.apply(  # type: ignore[no-untyped-call]
            hidden, head_weight, head_offset, loss, problem, solution
        )
    text_hits = torch.zeros_like(inputs.labels, dtype=torch.bool)
    text_hits[rows.index[: rows.counts.text]] = solution.text_hits
    return Stage1Output(
        loss=loss,
        sums={name: solution.sums[name] for name in problem.terms},
        counts=rows.counts,
        diagnostics={name: solution.sums[name] for name in DIAGNOSTICS},
        text_hits=text_hits,
    )


def _is_wanted(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.requires_grad and torch.is_grad_enabled()


def _gemm_dtype(hidden: Float[Tensor, "T D"]) -> torch.dtype:
    device, dtype = hidden.device.type, hidden.dtype
    if torch.is_autocast_enabled(device) and dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
    # A processor without instructions for the type emulates it, five times slower than float32.
    low = dtype in (torch.bfloat16, torch.float16)
    return torch.float32 if low and device == "cpu" and not _cpu_multiplies(dtype) else dtype


def _cpu_multiplies(dtype: torch.dtype) -> bool:
    """Return whether this processor has instructions for products in bfloat16 or float16."""
    suffix = "bf16" if dtype == torch.bfloat16 else "fp16"
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return False
    can = torch.cpu.get_capabilities()
    return bool(can.get(f"amx_{suffix}") or can.get(f"avx512_{suffix}"))


def _weighted(problem: SolverInputs, solution: Solution) -> Float[Tensor, ""]:
    sums = solution.sums
    coord = problem.weights.weigh(sums)
    return sums["text"] * problem.scale(coord=False) + coord * problem.scale(coord=True)


class _HandOut(torch.autograd.Function):
    """Passes the loss on, and hands out the gradients that were computed with it."""

    @staticmethod
    @override
    def forward(
        ctx: FunctionCtx,
        hidden: Tensor,
        _head_weight: Tensor,
        _head_offset: Tensor | None,
        loss: Tensor,
        problem: SolverInputs,
        solution: Solution,
    ) -> Tensor:
        # Keeps shape and type, and none of the hidden states.
        like = hidden.new_zeros(()).expand(hidden.shape)
        nothing = hidden.new_empty(0)
        gradients = (solution.hidden, solution.coord_rows, solution.head)
        ctx.save_for_backward(
            like,
            problem.rows.index,
            problem.row_scales(),
            *(nothing if gradient is None else gradient for gradient in gradients),
        )
        return loss.clone()

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: BackwardCFunction, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        like, index, scales, rows, coord_rows, head = saved
        wanted: tuple[bool, ...] = ctx.needs_input_grad
        hidden = None
        if wanted[0]:
            hidden = torch.zeros_like(like, memory_format=torch.contiguous_format)
            _put_rows(rows, scales * grad, index, hidden)
        return (
            hidden,
            head * grad.to(head.dtype) if wanted[1] else None,
            coord_rows * grad if wanted[2] else None,
            None,
            None,
            None,
        )


def _put_rows(
    rows: Float[Tensor, "N D"],
    scales: Float[Tensor, " N"],
    index: Int[Tensor, " N"],
    out: Float[Tensor, "T D"],
) -> None:
    for start in range(0, len(index), _ROWS_AT_ONCE):
        here = slice(start, start + _ROWS_AT_ONCE)
        out.index_copy_(0, index[here], (rows[here] * scales[here, None]).to(out.dtype))
