"""The readable reference of the stage-1 loss, on materialised logits.

Shapes: `T` tokens, `D` width, `V` vocabulary, `K` bins, `N` supervised positions. It builds
`[N, V]` logits, so it is the oracle for every other backend and the right choice for small
vocabularies, not the one for memory.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from coordexp.objective.backends.coord_rows import coord_diagnostics, coord_values
from coordexp.objective.contract import LossInputs, Stage1Output, StepCounts
from coordexp.objective.masks import label_bins, text_mask
from coordexp.objective.terms.coord_logits import CoordLogits, read_coord_logits

Sums = dict[str, Float[Tensor, ""]]


def reference_stage1_loss(inputs: LossInputs) -> Stage1Output:
    """Return the loss; see `coordexp.objective.stage1_loss`."""
    labels, weights = inputs.labels, inputs.weights
    bins = label_bins(labels, inputs.coord_ids, len(inputs.head_weight))
    is_text, is_coord = text_mask(labels, bins), bins >= 0
    counts = StepCounts(text=int(is_text.sum()), coord=int(is_coord.sum()))

    logits = _logits(
        inputs.hidden[is_text], inputs.head_weight, inputs.coord_ids, inputs.head_offset
    )
    sums, correct = _text_terms(logits, labels[is_text])
    text_hits = torch.zeros_like(is_text).masked_scatter(is_text, correct)
    diagnostics = {"text_correct": correct.to(logits.dtype).sum()}

    coords = _coords(inputs, inputs.hidden[is_coord], bins[is_coord])
    sums |= {name: values.sum() for name, values in coord_values(coords).items()}
    diagnostics |= {name: values.sum() for name, values in coord_diagnostics(coords).items()}

    over = inputs.denominators or counts
    # With no target at all the sums are zero and still connected to the graph.
    loss = sums["text"] / max(over.text, 1) + weights.weigh(sums) / max(over.coord, 1)
    return Stage1Output(
        loss=loss,
        sums={name: value.detach() for name, value in sums.items()},
        counts=counts,
        diagnostics=diagnostics,
        text_hits=text_hits,
    )


def _coords(
    inputs: LossInputs, hidden: Float[Tensor, "C D"], bins: Int[Tensor, " C"]
) -> CoordLogits:
    coord_ids, temperature = inputs.coord_ids, inputs.target.temperature
    head = (inputs.head_weight, coord_ids, inputs.head_offset)
    outside_learns = inputs.weights.teach_outside
    with torch.set_grad_enabled(torch.is_grad_enabled() and outside_learns):
        z = _logits(hidden, *head) / temperature
    s = z[:, coord_ids]
    inner, outer = s.logsumexp(-1), z.index_fill(1, coord_ids, -torch.inf).logsumexp(-1)
    if not outside_learns:  # then nothing out there may learn, nor spoil what does
        s = _coord_logits(hidden, *head) / temperature
    return read_coord_logits(s, bins, inner=inner, outer=outer, target=inputs.target)


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
