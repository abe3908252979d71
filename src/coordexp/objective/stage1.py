"""The readable reference of the stage-1 loss, on materialised logits.

Shapes: `T` tokens, `D` width, `V` vocabulary, `K` bins, `N` supervised positions. It builds
`[N, V]` logits, so it is the oracle for every other backend and the right choice for small
vocabularies, not the one for memory.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from coordexp.objective.distribution import (
    coord_gate,
    gaussian_soft_target,
    soft_cross_entropy,
    wasserstein1,
)
from coordexp.objective.masks import label_bins, text_mask
from coordexp.objective.terms import CoordTarget, CoordWeights, Stage1Output, StepCounts

Sums = dict[str, Float[Tensor, ""]]


def reference_stage1_loss(
    hidden: Float[Tensor, "T D"],
    head_weight: Float[Tensor, "V D"],
    labels: Int[Tensor, " T"],
    *,
    coord_ids: Int[Tensor, " K"],
    head_offset: Float[Tensor, "K D"] | None,
    weights: CoordWeights,
    target: CoordTarget,
    denominators: StepCounts | None,
) -> Stage1Output:
    """Return the loss; see `coordexp.objective.stage1_loss` for the arguments."""
    bins = label_bins(labels, coord_ids, len(head_weight))
    is_text, is_coord = text_mask(labels, bins), bins >= 0
    counts = StepCounts(text=int(is_text.sum()), coord=int(is_coord.sum()))

    logits = _logits(hidden[is_text], head_weight, coord_ids, head_offset)
    sums, correct = _text_terms(logits, labels[is_text])
    text_hits = torch.zeros_like(is_text).masked_scatter(is_text, correct)
    diagnostics = {"text_correct": correct.to(logits.dtype).sum()}

    coord_hidden = hidden[is_coord]
    with torch.set_grad_enabled(torch.is_grad_enabled() and weights.gate > 0):
        z = _logits(coord_hidden, head_weight, coord_ids, head_offset) / target.temperature
    s = z[:, coord_ids]
    if not weights.gate:  # then nothing outside the coord vocabulary may learn from a coordinate
        s = _coord_logits(coord_hidden, head_weight, coord_ids, head_offset) / target.temperature
    coord_sums, coord_diagnostics = _coord_terms(s, bins[is_coord], target)
    gate = _gate(z, coord_ids)
    sums |= coord_sums | {"gate": gate.sum()}
    diagnostics |= coord_diagnostics | {"coord_mass": (-gate.detach()).exp().sum()}

    over = denominators or counts
    coord_loss = (
        weights.ce * sums["ce"] + weights.soft_ce * sums["soft_ce"] + weights.w1 * sums["w1"]
    )
    if weights.gate:  # not 0 times it, which is NaN where it is not finite
        coord_loss = coord_loss + weights.gate * sums["gate"]
    # With no target at all the sums are zero and still connected to the graph.
    loss = sums["text"] / max(over.text, 1) + coord_loss / max(over.coord, 1)
    return Stage1Output(
        loss=loss,
        sums={name: value.detach() for name, value in sums.items()},
        counts=counts,
        diagnostics=diagnostics,
        text_hits=text_hits,
    )


def _coord_logits(
    hidden: Float[Tensor, "N D"],
    head_weight: Float[Tensor, "V D"],
    coord_ids: Int[Tensor, " K"],
    head_offset: Float[Tensor, "K D"] | None,
) -> Float[Tensor, "N K"]:
    logits = hidden @ head_weight[coord_ids].T
    if head_offset is not None:
        logits = logits + hidden @ head_offset.to(hidden.dtype).T
    return _at_least_float32(logits)


def _logits(
    hidden: Float[Tensor, "N D"],
    head_weight: Float[Tensor, "V D"],
    coord_ids: Int[Tensor, " K"],
    head_offset: Float[Tensor, "K D"] | None,
) -> Float[Tensor, "N V"]:
    logits = hidden @ head_weight.T
    if head_offset is not None:
        logits = logits.index_add(1, coord_ids, hidden @ head_offset.to(hidden.dtype).T)
    return _at_least_float32(logits)


def _at_least_float32(x: Float[Tensor, "N M"]) -> Float[Tensor, "N M"]:
    return x if x.dtype == torch.float64 else x.float()


def _text_terms(
    logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]
) -> tuple[Sums, Bool[Tensor, " N"]]:
    text = functional.cross_entropy(logits, targets, reduction="sum")
    scores = logits.detach()
    # No argmax: the target is right when nothing is above it.
    correct = scores.gather(1, targets[:, None])[:, 0] >= scores.amax(-1)
    return {"text": text}, correct


def _coord_terms(
    s: Float[Tensor, "N K"], bins: Int[Tensor, " N"], target: CoordTarget
) -> tuple[Sums, Sums]:
    num_bins = s.shape[-1]
    if not num_bins:  # a vocabulary without coord tokens: the text baseline
        nothing = s.sum()
        return {"ce": nothing, "soft_ce": nothing, "w1": nothing}, {"p_gt": nothing.detach()}
    log_p = s.log_softmax(-1)
    q = gaussian_soft_target(
        bins, num_bins=num_bins, sigma=target.sigma, truncate=target.truncate, dtype=s.dtype
    )
    goal = q if target.w1_target == "soft" else functional.one_hot(bins, num_bins).to(s.dtype)
    w1 = wasserstein1(log_p.exp(), goal)
    if target.w1_unit == "fraction":
        w1 = w1 / num_bins
    ce = -log_p.gather(1, bins[:, None])[:, 0]
    sums = {"ce": ce.sum(), "soft_ce": soft_cross_entropy(log_p, q).sum(), "w1": w1.sum()}
    return sums, {"p_gt": (-ce.detach()).exp().sum()}


def _gate(z: Float[Tensor, "N V"], coord_ids: Int[Tensor, " K"]) -> Float[Tensor, " N"]:
    lse_noncoord = z.index_fill(1, coord_ids, -torch.inf).logsumexp(-1)
    return coord_gate(lse_noncoord, z[:, coord_ids].logsumexp(-1))
