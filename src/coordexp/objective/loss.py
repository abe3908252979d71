"""The one door to the stage-1 loss."""

from typing import Literal, get_args

from jaxtyping import Float, Int
from torch import Tensor

from coordexp.objective.backends.blocks import solve_in_blocks
from coordexp.objective.backends.problem import Solver
from coordexp.objective.backends.reference import reference_stage1_loss
from coordexp.objective.backends.without_logits import solved_stage1_loss
from coordexp.objective.contract import (
    CoordWeights,
    LossInputs,
    Stage1Output,
    StepCounts,
)
from coordexp.objective.terms.coord_logits import CoordTarget

Backend = Literal["auto", "reference", "fused", "triton"]

# Below this many vocabulary rows the logits are small and the reference is as fast as any.
FUSED_FROM = 8192


def stage1_loss(
    hidden: Float[Tensor, "T D"],
    head_weight: Float[Tensor, "V D"],
    labels: Int[Tensor, " T"],
    *,
    coord_ids: Int[Tensor, " K"],
    head_offset: Float[Tensor, "K D"] | None,
    weights: CoordWeights,
    target: CoordTarget,
    denominators: StepCounts | None,
    backend: Backend,
) -> Stage1Output:
    r"""Return the stage-1 loss of a row of tokens.

    .. math::
        \frac{\sum_{text} CE}{n_{text}} + \frac{\sum_{coord} \sum_{term} \lambda_{term}\,
        term}{n_{coord}}

    Text targets are scored by full-vocabulary cross-entropy, offsets included; coord targets by the
    terms of `coordexp.objective.terms`, at the temperature. With no target the
    loss is 0 and its gradient too.

    Args:
        hidden: Final hidden states, aligned with `labels`.
        head_weight: The output embedding; every stored row takes part in the softmax, padding rows
            too.
        labels: Already shifted: `labels[t]` is the token after the one that made `hidden[t]`; -100
            is ignored.
        coord_ids: The coord ids in bin order.
        head_offset: Learned rows added to the head's coord rows.
        weights: Of the coord terms, by name.
        target: Shape of the taught distribution.
        denominators: Targets of the whole optimizer step; None means this call's own, for the loss
            alone.
        backend: `reference` on materialised logits; `fused` without them, in plain torch; `triton`
            without them, on a GPU. `auto` takes what is best for the size of the vocabulary, and
            never changes results beyond rounding.

    Raises:
        ValueError: On an unknown backend.
        ImportError: When `triton` is asked for and not installed.
    """
    if backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise ValueError(f"unknown objective backend {backend!r}; known: {known}")
    if backend == "auto":
        backend = _best_backend(head_weight)
    inputs = LossInputs(
        hidden=hidden,
        head_weight=head_weight,
        labels=labels,
        coord_ids=coord_ids,
        head_offset=head_offset,
        weights=weights,
        target=target,
        denominators=denominators,
    )
    if backend == "reference":
        return reference_stage1_loss(inputs)
    return solved_stage1_loss(
        inputs, solver=_triton_solver() if backend == "triton" else solve_in_blocks
    )


def _best_backend(head_weight: Float[Tensor, "V D"]) -> Literal["reference", "fused"]:
    # Not `triton`, on a GPU either, until its kernels have been measured on one.
    return "fused" if len(head_weight) >= FUSED_FROM else "reference"


def _triton_solver() -> Solver:
    # Imported on use: the package works where triton cannot be installed.
    from coordexp.objective.backends.triton.solver import solve_with_kernels  # noqa: PLC0415

    return solve_with_kernels
